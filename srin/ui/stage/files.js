// Photos come by drag and drop, by the file dialogs, or from the clipboard.

import { find } from "./component.js";
import { request, settled } from "./requests.js";
import { stage } from "./state.js";
import { ROLE_WORDS, copies, sendOriginal, sendPhoto, smallCopy } from "./transfer.js";
import { keepFile, openProject, workFile } from "./work.js";

// The role of a file for which nobody chose one: the first that is missing, otherwise that of the photo on the canvas.
function freeRole() {
  const { server, way, view } = stage;
  if (way === "ready") return server.picture ? "mask" : "picture";
  if (!server.background) return "background";
  if (!server.object) return "object";
  return view === "cut" ? "object" : "background";
}

export async function addFiles(files, role) {
  const project = files.find((file) => file.name.toLowerCase().endsWith(".srin"));
  if (project) return openProject(project);
  const pictures = files.filter((file) => file.size > 0 || files.length === 1);
  for (const [index, file] of pictures.slice(0, 2).entries()) {
    await addFile(file, index === 0 ? (role ?? freeRole()) : freeRole());
  }
}

async function addFile(file, role) {
  if (role === "picture" && stage.way === "pair") request("way", { way: "ready" }, "Switching");
  let path;
  /** @type {{ file: File, width: number, height: number } | null} */
  let small = null;
  await request("photo", { role }, `Reading ${ROLE_WORDS[role]}`, async () => {
    small = role === "mask" ? null : await smallCopy(file);
    path = await (small ? sendPhoto(small.file, role, { after: file.size, name: file.name }) : sendPhoto(file, role));
    if (small) copies.set(workFile(path), URL.createObjectURL(small.file));
    keepFile(path, file); // also for a small copy, the browser keeps the original
    return { path, name: file.name, width: small?.width, height: small?.height };
  });
  await settled();
  // The original follows, unless the server refused the small copy.
  if (small && stage.server.work?.files[role]?.url === workFile(path)) {
    sendOriginal(file, role, path, small.file.size, (original) => keepFile(original, file));
  }
}

export function connectFiles() {
  const board = find(".stage-board");
  board.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    board.classList.add("dropping");
  });
  board.addEventListener("dragleave", () => board.classList.remove("dropping"));
  board.addEventListener("drop", (event) => {
    event.preventDefault();
    board.classList.remove("dropping");
    if (event.dataTransfer.files.length) addFiles([...event.dataTransfer.files]);
  });
  window.addEventListener("paste", (/** @type {ClipboardEvent} */ event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) addFiles(files);
  });
}
