// Uploads files to the server, and shows how far they are in their slots. After a lost connection, a file is sent again.

import { newCanvas, timeLeft } from "../page/shared.js";
import { element, findAll } from "./component.js";
import { send, settled } from "./requests.js";
import { changed, stage } from "./state.js";

export const ROLE_WORDS = { background: "the background", object: "the object's photo", picture: "the composite", mask: "the mask" };
const STALLED = 30_000; // milliseconds without a byte after which a connection is taken for lost
// { role, share, left, again, leave }; again: sends it again, null unless it waits for that; leave: gives it up, null unless it
// waits and nothing of the photo has arrived.
const transfers = [];

/**
 * Uploads a file. Resolves with its path on the server. Rejects with an Error; its `sentence` says why the server refused the
 * file, and is "" if the server did not answer.
 * @param {File} file
 * @param {(share: number, left: number | null) => void} told gets the share that is sent, 0 to 1, and the seconds that are left
 */
export function transfer(file, told = () => {}) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    const began = performance.now();
    let timer = 0;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => sending.abort(), STALLED);
    };
    sending.open("POST", "gradio_api/upload");
    sending.responseType = "json";
    sending.upload.addEventListener("progress", ({ loaded, total }) => {
      wait();
      const seconds = (performance.now() - began) / 1000;
      told(loaded / total, seconds > 1 && loaded ? (seconds * (total - loaded)) / loaded : null);
    });
    sending.upload.addEventListener("loadend", () => clearTimeout(timer)); // all is sent, and the server may take its time
    sending.addEventListener("loadend", () => {
      clearTimeout(timer);
      const path = sending.status === 200 && sending.response?.[0];
      if (path) resolve(path);
      else reject(Object.assign(new Error("not sent"), { sentence: refusal(file, sending.status) }));
    });
    const form = new FormData();
    form.append("files", file, file.name);
    sending.send(form);
    wait();
  });
}

function refusal(file, status) {
  if (status === 413) return `${file.name} is too large a file for this server.`;
  return status ? `${file.name} was not taken by the server. Try again in a moment.` : "";
}

// Uploads a file for a slot. After a lost connection it waits until the browser is online again, or somebody presses a button.
// Rejects as `transfer`, also if it is given up, which is possible as long as nothing of the photo has arrived.
// before, after: bytes of the same photo that were sent before the file, or will be after it. name: the photo's.
export async function sendPhoto(file, role, { before = 0, after = 0, name = file.name } = {}) {
  const here = { role, share: 0, left: null, again: null, leave: null };
  transfers.push(here);
  try {
    for (;;) {
      showTransfers();
      try {
        return await transfer(file, (share, left) => {
          const rest = (1 - share) * file.size;
          here.share = (before + share * file.size) / (before + file.size + after);
          here.left = left && rest && (left * (rest + after)) / rest;
          showTransfers();
        });
      } catch (error) {
        if (error.sentence) throw error;
      }
      stage.problem = `The connection was lost before ${name} was sent. It is kept here: send it again when you are connected.`;
      await new Promise((resolve, reject) => {
        here.again = resolve;
        const left = Object.assign(new Error("given up"), { sentence: `${name} was not sent.` });
        here.leave = before ? null : () => reject(left);
        changed("panel");
      });
      Object.assign(here, { share: 0, left: null, again: null, leave: null });
      stage.problem = "";
      changed("panel");
    }
  } finally {
    transfers.splice(transfers.indexOf(here), 1);
    changed("panel");
  }
}

const sentText = ({ share, left }) => `${Math.round(100 * share)} % sent${left ? `,${timeLeft(left)}` : ""}`;

// Uploads a file that has no slot; the status line shows how far it is.
export async function sendAloud(file) {
  const { doing } = stage;
  const path = await transfer(file, (share, left) => {
    stage.doing = `${doing} ${sentText({ share, left })}`;
    changed("status");
  });
  stage.doing = doing;
  return path;
}

export function showTransfers() {
  element.querySelector(".stage").classList.toggle("sending", transfers.length > 0);
  for (const slot of findAll("[data-role]")) {
    const here = transfers.findLast(({ role }) => role === slot.dataset.role);
    const bar = slot.querySelector("progress");
    bar.hidden = !here || Boolean(here.again);
    slot.querySelector(".slot-again").hidden = !here?.again;
    slot.querySelector(".slot-leave").hidden = !here?.leave;
    if (!here) continue;
    bar.value = here.share;
    slot.querySelector(".slot-name").textContent = here.again ? "not sent" : sentText(here);
  }
}

function sendAgain() {
  for (const { again } of [...transfers]) again?.();
}

function hiddenButton(className, textContent, act) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className, textContent, hidden: true });
  button.addEventListener("click", act);
  return button;
}

function giveUp(role) {
  for (const here of [...transfers]) if (here.role === role) here.leave?.();
}

// --- small copies

const SMALL_SIDE = 1280; // pixels: as large as what the server shows, see PROXY_SIDE in previews.py
const DIRECT = 1e6; // bytes: smaller files are sent without a small copy
const SMALL_QUALITY = 0.9;
export const copies = new Map(); // local URLs of small copies, by their address on the server, so that they are not fetched

// Rounds as the server does: a mask that is painted on the copy must have the size that the server expects.
function rounded(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

// Resolves with { file, width, height }: a copy with which work can begin, and the size of the original. Null if the file is
// small, has transparency, or is of a kind that the browser can't read.
export async function smallCopy(file) {
  if (file.size < DIRECT) return null;
  let photo;
  try {
    const turned = /** @type {any} */ ({ imageOrientation: "from-image" }); // unknown to TypeScript 4.8
    photo = await createImageBitmap(file, turned);
  } catch {
    return null;
  }
  const { width, height } = photo;
  const scale = SMALL_SIDE / Math.max(width, height);
  if (scale >= 1) return null;
  const canvas = newCanvas(rounded(width * scale), rounded(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  photo.close();
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return null;
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", SMALL_QUALITY));
  return blob && { file: new File([blob], "small.jpg", { type: "image/jpeg" }), width, height };
}

// A state of the server, with URLs of small copies in this browser where there are any.
export function withCopies(state) {
  const found = {};
  for (const role of ["background", "object", "picture"]) {
    const url = state[role]?.travels && copies.get(state.work.files[role].url);
    if (url) found[role] = { ...state[role], url };
  }
  return { ...state, ...found };
}

// Uploads an original, which replaces its small copy on the server. Only what needs originals waits for it, see `arrived`.
// small: the copy's path on the server; before: its size in bytes. arrives: called with the original's path.
export async function sendOriginal(file, role, small, before, arrives) {
  let path, refused;
  try {
    path = await sendPhoto(file, role, { before });
    arrives(path);
  } catch (error) {
    refused = error.sentence; // without a path, the server drops the small copy too
  }
  stage.doing = `Reading ${ROLE_WORDS[role]} at full size…`;
  send("original", { small, role, name: file.name, path });
  if (!refused) return;
  await settled();
  stage.problem = refused;
  changed("panel");
}

// --- waiting for originals

const arrivals = []; // functions that let waiting actions go on

function travelling() {
  const { server, way } = stage;
  return (way === "ready" ? ["picture"] : ["background", "object"]).map((role) => server[role]).filter((photo) => photo?.travels);
}

// Resolves when the server has all photos of the scene at full size. waits: called with what is waited for.
export async function arrived(waits) {
  await settled();
  while (travelling().length) {
    waits(`Waiting until ${travelling().map(({ name }) => name).join(" and ")} ${travelling().length > 1 ? "are" : "is"} sent…`);
    await new Promise((resolve) => arrivals.push(resolve));
    await settled();
  }
}

export function tellArrivals() {
  for (const go of arrivals.splice(0)) go();
}

export function connectTransfers() {
  for (const slot of findAll("[data-role]")) {
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.hidden = true;
    bar.setAttribute("aria-label", `How much of ${ROLE_WORDS[slot.dataset.role]} is sent`);
    slot.append(bar, hiddenButton("slot-again", "Send again", sendAgain));
    slot.append(hiddenButton("slot-leave", "Give up", () => giveUp(slot.dataset.role)));
  }
  window.addEventListener("online", sendAgain);
}
