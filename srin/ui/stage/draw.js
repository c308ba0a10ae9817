// Draws the two canvases. The lower one holds the picture alone, the upper one everything that is only for editing.

import { clamp, newCanvas } from "../page/shared.js";
import { find } from "./component.js";
import { applyPlacement, handlesOf } from "./placement.js";
import { canPlace, marksLight, shownPicture, shownView, stage, views } from "./state.js";

const ACCENT = "#2dd4bf";
export const HANDLE = 9; // CSS pixels: the handles' radius
const TURN_REACH = 34; // CSS pixels from the object's upper edge to the handle that turns it

export const pictureCanvas = find(".stage-picture");
export const marksCanvas = find(".stage-marks");
export const density = () => Math.min(2, window.devicePixelRatio || 1);

const hatched = newCanvas(1, 1); // the pattern over what may not lend
let frame = 0;

export function redraw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    drawPicture();
    drawMarks();
  });
}

// Makes the canvases as large as they are shown.
export function fitCanvases() {
  const { width, height } = marksCanvas.getBoundingClientRect();
  for (const canvas of [pictureCanvas, marksCanvas]) {
    canvas.width = Math.max(1, Math.round(width * density()));
    canvas.height = Math.max(1, Math.round(height * density()));
  }
  for (const view of Object.values(views)) view.canvas = { width: marksCanvas.width, height: marksCanvas.height };
  redraw();
}

// The context of an emptied canvas.
function cleared(canvas) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

function drawPicture() {
  const context = cleared(pictureCanvas);
  const picture = shownPicture();
  if (!picture) return;
  const view = shownView();
  context.imageSmoothingQuality = view.scale < 1 ? "high" : "low";
  view.apply(context);
  context.drawImage(picture, 0, 0);
  if (stage.view === "place" && canPlace()) {
    drawObject(context, stage.images.cutout, picture);
  }
  if (stage.view === "place" && stage.live && !stage.holds) drawLive(context, picture);
}

// Draws the cut-out where it is placed, clipped by the background's frame.
function drawObject(context, cutout, background) {
  context.save();
  context.beginPath();
  context.rect(0, 0, background.width, background.height);
  context.clip();
  applyPlacement(context, stage.placement, background, stage.cutoutSize);
  const { width, height } = stage.cutoutSize;
  context.drawImage(cutout, -width / 2, -height / 2, width, height);
  context.restore();
}

// Draws the harmonized object, which the server has cut out along the same mask, over the pasted one. The server sends a
// picture at a strength of 1 and, where that is not enough, another one at 2.
function drawLive(context, background) {
  const [x, y, width, height] = stage.live.window;
  const { strength } = stage;
  const place = [x * background.width, y * background.height, width * background.width, height * background.height];
  stage.live.images.forEach((image, index) => {
    context.globalAlpha = clamp(strength - index, 0, 1);
    context.drawImage(image, ...place);
  });
  context.globalAlpha = 1;
}

function drawMarks() {
  const context = cleared(marksCanvas);
  const picture = shownPicture();
  if (!picture) return;
  if (stage.view === "place") {
    drawLabels(context, picture);
    drawLight(context, picture);
    if (canPlace() && stage.tool === "place") drawHandles(context, picture);
    if (marksLight()) drawPointer(context, picture);
    return;
  }
  if (stage.showsMask && !stage.mask.isEmpty) {
    context.save();
    shownView().apply(context);
    context.globalAlpha = 0.5;
    context.drawImage(stage.mask.canvas, 0, 0, picture.width, picture.height);
    context.restore();
  }
  if (stage.hoverMask) {
    context.save();
    shownView().apply(context);
    context.globalAlpha = 0.35;
    context.drawImage(stage.hoverMask, 0, 0, picture.width, picture.height);
    context.restore();
  }
  drawLabels(context, picture);
  drawPrompts(context);
  drawPointer(context, picture);
}

// Draws the semantic map over the picture.
function drawLabels(context, picture) {
  if (!stage.images.map || !stage.showsMap) return;
  context.save();
  shownView().apply(context);
  context.globalAlpha = 0.75;
  context.drawImage(stage.images.map, 0, 0, picture.width, picture.height);
  context.restore();
}

function line(context, width, colour) {
  context.lineWidth = width * density();
  context.strokeStyle = colour;
  context.stroke();
}

// Draws a line twice, light over dark, so that it shows on any picture.
function outlined(context, path) {
  context.beginPath();
  path();
  line(context, 3.5, "rgb(0 0 0 / 0.55)");
  line(context, 1.5, "#fff");
}

export function handlePlaces(picture) {
  const view = shownView();
  const reach = (TURN_REACH * density()) / view.scale;
  const { corners, top, turn } = handlesOf(stage.placement, picture, stage.cutoutSize, reach);
  const place = (point) => view.fromPicture(point);
  return { corners: corners.map(place), top: place(top), turn: place(turn) };
}

function drawHandles(context, picture) {
  const { corners, top, turn } = handlePlaces(picture);
  outlined(context, () => {
    corners.forEach(({ x, y }, index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.moveTo(top.x, top.y);
    context.lineTo(turn.x, turn.y);
  });
  for (const [index, { x, y }] of [...corners, turn].entries()) {
    context.beginPath();
    context.arc(x, y, HANDLE * 0.7 * density(), 0, 7);
    context.fillStyle = index < 4 ? "#fff" : ACCENT;
    context.fill();
    line(context, 1.5, "rgb(0 0 0 / 0.6)");
  }
}

function drawPrompts(context) {
  const view = shownView();
  for (const point of stage.points) {
    const { x, y } = view.fromPicture(point);
    const radius = 8 * density();
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fillStyle = point.label ? "#059669" : "#dc2626";
    context.fill();
    line(context, 2, "#fff");
    context.beginPath();
    context.moveTo(x - radius / 2, y);
    context.lineTo(x + radius / 2, y);
    if (point.label) {
      context.moveTo(x, y - radius / 2);
      context.lineTo(x, y + radius / 2);
    }
    line(context, 2, "#fff");
  }
  if (stage.box) {
    const [x0, y0, x1, y1] = stage.box;
    const from = view.fromPicture({ x: x0, y: y0 });
    const to = view.fromPicture({ x: x1, y: y1 });
    outlined(context, () => context.rect(from.x, from.y, to.x - from.x, to.y - from.y));
  }
}

// Draws the brush's ring under the mouse, and the cross that the arrow keys move.
function drawPointer(context, picture) {
  const view = shownView();
  if (stage.cursor) {
    const { x, y } = view.fromPicture(stage.cursor);
    const arm = 14 * density();
    outlined(context, () => {
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
    });
  }
  const at = stage.cursor ?? stage.hover;
  if (at && ["brush", "erase", "lightbrush", "lighterase"].includes(stage.tool)) {
    const { x, y } = view.fromPicture(at);
    const radius = (stage.brush.size * picture.height * view.scale) / 2;
    outlined(context, () => context.arc(x, y, Math.max(1, radius), 0, 7));
  }
}

// Hatches what may not lend. The object is left as it is.
function drawLight(context, picture) {
  if (!find(".light").open || stage.light.isEmpty) return;
  const { width, height } = marksCanvas;
  if (hatched.width !== width || hatched.height !== height) Object.assign(hatched, { width, height });
  const layer = cleared(hatched);
  const view = shownView();
  const from = view.fromPicture({ x: 0, y: 0 });
  const to = view.fromPicture({ x: 1, y: 1 });
  const box = [from.x, from.y, to.x - from.x, to.y - from.y];
  layer.globalCompositeOperation = "source-over";
  layer.fillStyle = hatching(layer);
  const [left, top, wide, high] = box;
  if (stage.lightOnly) layer.fillRect(left, top, wide, high);
  else layer.drawImage(stage.light.canvas, left, top, wide, high);
  layer.globalCompositeOperation = stage.lightOnly ? "destination-out" : "source-in";
  if (stage.lightOnly) layer.drawImage(stage.light.canvas, left, top, wide, high);
  else layer.fillRect(left, top, wide, high);
  layer.globalCompositeOperation = "destination-out";
  view.apply(layer);
  if (canPlace()) drawObject(layer, stage.images.cutout, picture);
  else layer.drawImage(stage.mask.canvas, 0, 0, picture.width, picture.height);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(hatched, 0, 0);
}

// A pattern of light lines on dark, which shows on any picture.
function hatching(context) {
  const side = Math.round(9 * density());
  const tile = newCanvas(side, side);
  const drawn = tile.getContext("2d");
  drawn.fillStyle = "rgb(0 0 0 / 0.45)";
  drawn.fillRect(0, 0, side, side);
  drawn.beginPath();
  for (const shift of [-side, 0, side]) {
    drawn.moveTo(shift - 1, side + 1);
    drawn.lineTo(shift + side + 1, -1);
  }
  drawn.lineWidth = density();
  drawn.strokeStyle = "rgb(255 255 255 / 0.5)";
  drawn.stroke();
  return context.createPattern(tile, "repeat");
}
