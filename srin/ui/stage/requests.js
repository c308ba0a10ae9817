// The talk with the server. Every request has a number; the server answers them in that order and says in its state how
// many it has answered. So nothing overtakes anything, and it is known when everything has settled.

import { trigger } from "./component.js";
import { changed, stage } from "./state.js";

export let sent = 0;
let answered = 0;
let uploads = 0; // before they are sent, files travel
const waiting = [];

export const pendingCount = () => sent - answered + uploads;

// The server has answered so many.
export function haveAnswered(count) {
  answered = Math.max(answered, count);
}

// Another session begins, which has answered so many.
export function startFrom(count) {
  sent = answered = count;
}

// kind: see ACTIONS in stage.py. prepare: an asynchronous function whose result joins the data.
export async function request(kind, data, doing, prepare) {
  if (kind !== "resume" && stage.resuming) await settled(); // what is brought back comes first
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
  queueMicrotask(release); // the next, unless this one has sent something that the next has to wait for
}
