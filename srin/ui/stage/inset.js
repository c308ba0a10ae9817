// The object's photo with its mask, small in the corner of the scene: a click in it corrects the mask, and the object stays
// where it is.

import { addPoint, pickTool } from "./actions.js";
import { find, findAll, setPressed } from "./component.js";
import { density } from "./draw.js";
import { marksLight, stage } from "./state.js";

const inset = find(".inset");
const insetCanvas = find(".inset-canvas");
const INSET_WIDTH = 200; // CSS pixels
const SMALL_BOARD = 520; // CSS pixels: on a narrower canvas the inset is too small to aim at, and a tap opens the photo
let insetLabel = 1; // of the next click: 1 adds, 0 takes away

export function showInset() {
  const { way, view, images, server } = stage;
  const corrects = way === "pair" && view === "place" && images.object && server.mask && !server.mask.pure;
  inset.hidden = !corrects || marksLight(); // while light is marked it must not cover the background
  for (const button of findAll("[data-inset]")) setPressed(button, Number(button.dataset.inset) === insetLabel);
  if (!inset.hidden) drawInset();
}

function drawInset() {
  const { object } = stage.images;
  const board = find(".stage-board").clientWidth;
  const width = Math.min(INSET_WIDTH, board * 0.3);
  inset.classList.toggle("small", board < SMALL_BOARD);
  insetCanvas.width = Math.round(width * density());
  insetCanvas.height = Math.round((insetCanvas.width * object.height) / object.width);
  insetCanvas.style.width = `${width}px`;
  const context = insetCanvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(object, 0, 0, insetCanvas.width, insetCanvas.height);
  context.globalAlpha = 0.5;
  if (!stage.mask.isEmpty) context.drawImage(stage.mask.canvas, 0, 0, insetCanvas.width, insetCanvas.height);
}

export function connectInset() {
  insetCanvas.addEventListener("click", (event) => {
    if (inset.classList.contains("small")) {
      pickTool("point");
      return;
    }
    const { left, top, width, height } = insetCanvas.getBoundingClientRect();
    addPoint({ x: (event.clientX - left) / width, y: (event.clientY - top) / height }, insetLabel);
  });
  for (const button of findAll("[data-inset]")) {
    button.addEventListener("click", () => {
      insetLabel = Number(button.dataset.inset);
      showInset();
    });
  }
}
