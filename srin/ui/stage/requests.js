// Requests to the server. Each has a number. The server answers them in that order, and says in its state how many it has
// answered, so requests don't overtake each other, and the page knows when all are answered.

import { trigger } from "./component.js";
import { changed, stage } from "./state.js";

export let sent = 0;
let answered = 0;
let uploads = 0; // requests that wait until their file is uploaded
const waiting = [];

export const pendingCount = () => sent - answered + uploads;

// Called when the server has answered so many requests.
export function haveAnswered(count) {
  answered = Math.max(answered, count);
}

// Called when another session begins, which has answered so many requests.
export function startFrom(count) {
  sent = answered = count;
}

// Sends a request. kind: see ACTIONS in stage.py. prepare: an asynchronous function whose result is added to the data.
export async function request(kind, data, doing, prepare) {
  if (kind !== "resume" && stage.resuming) await settled(); // restored work comes first
  stage.doing = `${doing}…`;
  stage.asked = kind;
  stage.problem = "";
  if (!prepare) {
    send(kind, data);
    return;
  }
  uploads += 1;
  changed("panel");
  try {
    send(kind, { ...data, ...(await prepare()) });
  } catch (error) {
    stage.problem = error.sentence || "The file could not be sent. Is the connection lost?";
  }
  uploads -= 1;
  changed("panel");
  release();
}

export function send(kind, data) {
  sent += 1;
  trigger("act", { ...data, kind, request: sent, strokes: stage.strokes, session: stage.server.work?.session });
  changed("panel");
}

// Resolves when the server has answered everything.
export function settled() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    release();
  });
}

export function release() {
  if (pendingCount() > 0 || !waiting.length) return;
  waiting.shift()();
  queueMicrotask(release); // the next one waits if this one has sent a request
}
