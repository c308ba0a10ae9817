// Files on their way to the server: how far they are stands in their slots. One whose connection is lost is sent again.

import { newCanvas, timeLeft } from "../page/shared.js";
import { element, findAll } from "./component.js";
import { send, settled } from "./requests.js";
import { changed, stage } from "./state.js";

export const ROLE_WORDS = { background: "the background", object: "the object's photo", picture: "the composite", mask: "the mask" };
const STALLED = 30_000; // milliseconds without a byte after which a connection is taken for lost
const transfers = []; // { role, share, left, again }; again: a function, as long as nothing goes on

/**
 * Resolves with the file's path on the server. Rejects with an Error; its `sentence` says why the server did not take the
 * file, where it answered at all.
 * @param {File} file
 * @param {(share: number, left: number | null) => void} told hears which share is there, 0 to 1, and the seconds that are left
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
    sending.upload.addEventListener("loadend", () => clearTimeout(timer)); // what is left is the server's
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

// A transfer for a slot. As long as the connection is lost it waits, for the connection or for a person.
// before, after: bytes of the same photo that went before it, or come after it.
export async function sendPhoto(file, role, { before = 0, after = 0 } = {}) {
  const here = { role, share: 0, left: null, again: null };
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
      stage.problem = `The connection was lost before ${file.name} was sent. It is kept here: send it again when you are connected.`;
      await new Promise((resolve) => {
        here.again = resolve;
        changed("panel");
      });
      Object.assign(here, { share: 0, left: null, again: null });
      stage.problem = "";
      changed("panel");
    }
  } finally {
    transfers.splice(transfers.indexOf(here), 1);
    changed("panel");
  }
}

const sentText = ({ share, left }) => `${Math.round(100 * share)} % sent${left ? `,${timeLeft(left)}` : ""}`;

// A file that has no slot: how far it is stands beside what the page does.
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
    if (!here) continue;
    bar.value = here.share;
    slot.querySelector(".slot-name").textContent = here.again ? "not sent" : sentText(here);
  }
}

function sendAgain() {
  for (const { again } of [...transfers]) again?.();
}

// --- small copies

const SMALL_SIDE = 1280; // pixels: as large as what the server shows, see PROXY_SIDE in previews.py
const DIRECT = 1e6; // bytes: smaller files go at once
const SMALL_QUALITY = 0.9;
export const copies = new Map(); // URLs of small copies, by their address on the server: they are not fetched again

// As the server rounds: a mask that is painted on the copy must have its size.
function rounded(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

// { file, width, height }: a copy with which work can begin, and the size of the original; or null where there is none: the
// file is small, it has transparency, or it is of a kind that the browser can't read.
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

// A state of the server, with the small copies that are in this browser.
export function withCopies(state) {
  const found = {};
  for (const role of ["background", "object", "picture"]) {
    const url = state[role]?.travels && copies.get(state.work.files[role].url);
    if (url) found[role] = { ...state[role], url };
  }
  return { ...state, ...found };
}

// The original takes the place of its small copy on the server. Nothing waits for it but what needs it, see `arrived`.
// small: the address of the copy; before: its bytes. arrives: called with the original's path.
export async function sendOriginal(file, role, small, before, arrives) {
  let path, refused;
  try {
    path = await sendPhoto(file, role, { before });
    arrives(path);
  } catch (error) {
    refused = error.sentence; // without a path, the small copy goes too
  }
  stage.doing = `Reading ${ROLE_WORDS[role]} at full size…`;
  send("original", { small, role, name: file.name, path });
  if (!refused) return;
  await settled();
  stage.problem = refused;
  changed("panel");
}

// --- what has to wait for originals

const arrivals = []; // calls of those who wait

function travelling() {
  const { server, way } = stage;
  return (way === "ready" ? ["picture"] : ["background", "object"]).map((role) => server[role]).filter((photo) => photo?.travels);
}

// Resolves when all photos of the scene are there at full size. waits: called with what is waited for.
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
    const again = document.createElement("button");
    Object.assign(again, { type: "button", className: "slot-again", textContent: "Send again", hidden: true });
    again.addEventListener("click", sendAgain);
    slot.append(bar, again);
  }
  window.addEventListener("online", sendAgain);
}
