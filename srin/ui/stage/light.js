// "Take the light from here": a part of the background is clicked or painted, from which alone the networks take their
// light, or never. The mark belongs to the background's photo: where the object lies makes no difference to it.

import { newCanvas } from "../page/shared.js";
import { pickTool } from "./actions.js";
import { find, findAll } from "./component.js";
import { density, drawObject, marksCanvas, redraw } from "./draw.js";
import { setBrush, setPressed } from "./panel.js";
import { request, sent } from "./requests.js";
import { canPlace, shownPicture, shownView, stage } from "./state.js";
import { transfer } from "./transfer.js";

const LIGHT_TOOLS = ["light", "lightbrush", "lighterase"];
export const LIVE_SIDE = 512; // pixels of the longer side of a first live preview, and of a mark, as in previews.py
const hatched = newCanvas(1, 1); // what may not lend
let lightUploads = 0;
let lightSent = 0; // number of the last request that changed the mark: older answers know less than the canvas

export const marksLight = () => LIGHT_TOOLS.includes(stage.tool);
export const viewOf = (tool) => (tool === "place" || LIGHT_TOOLS.includes(tool) ? "place" : "cut");

export async function sendLight(data, doing, prepare) {
  lightUploads += 1;
  await request("light", { only: stage.lightOnly, ...data }, doing, prepare);
  lightUploads -= 1;
  lightSent = sent;
}

export function markRegion(point) {
  if (point.x < 0 || point.y < 0 || point.x > 1 || point.y > 1) return;
  sendLight({ ...point, placement: stage.placement }, "Finding the region");
}

export function ensureLight() {
  const picture = shownPicture();
  const factor = Math.min(1, LIVE_SIDE / Math.max(picture.width, picture.height));
  if (stage.light.isEmpty) stage.light.clear(picture.width * factor, picture.height * factor);
}

export function commitLight() {
  sendLight({}, "Marking", async () => ({ path: await transfer(await stage.light.toFile()) }));
}

export function adoptLight(next) {
  if (lightUploads || next.answered < lightSent) return;
  const { light } = next;
  if (light) {
    const { lightPicture } = stage.images;
    stage.lightOnly = light.only;
    stage.light.show(lightPicture, lightPicture.width, lightPicture.height);
  } else {
    stage.light.clear(1, 1);
  }
}

export function showLight() {
  const { light } = stage.server;
  const percent = light && Math.max(1, Math.round(light.share * 100));
  find(".light").hidden = !stage.method;
  for (const button of findAll("[data-only]")) setPressed(button, (button.dataset.only === "true") === stage.lightOnly);
  find(".light-brush").hidden = !["lightbrush", "lighterase"].includes(stage.tool);
  find('[data-act="unlight"]').disabled = !light;
  find(".light-state").textContent = light ? `${light.only ? "only" : "never"} from ${percent} %` : "";
  const note = find(".light-note");
  note.classList.toggle("error", Boolean(light && stage.lightProblem));
  note.textContent = light ? stage.lightProblem || markedText(light, percent) : "The networks take their light from the whole background.";
}

function markedText({ only }, percent) {
  const part = `the ${percent} % of the photo that you marked`;
  return only ? `The networks take their light from ${part}, and from nowhere else.` : `The networks take no light from ${part}.`;
}

// Hatches what may not lend. The object is left as it is.
export function drawLight(context, picture) {
  if (!find(".light").open || stage.light.isEmpty) return;
  const { width, height } = marksCanvas;
  if (hatched.width !== width || hatched.height !== height) Object.assign(hatched, { width, height });
  const layer = hatched.getContext("2d");
  const view = shownView();
  const from = view.fromPicture({ x: 0, y: 0 });
  const to = view.fromPicture({ x: 1, y: 1 });
  const box = [from.x, from.y, to.x - from.x, to.y - from.y];
  layer.setTransform(1, 0, 0, 1, 0, 0);
  layer.globalCompositeOperation = "source-over";
  layer.clearRect(0, 0, width, height);
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

// Dark and light, so that it shows on any picture.
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

export function connectLight() {
  const box = find(".light");
  box.addEventListener("toggle", () => {
    if (box.open) pickTool("light");
    else if (marksLight()) pickTool("place");
    redraw();
  });
  for (const button of findAll("[data-only]")) {
    button.addEventListener("click", () => {
      stage.lightOnly = button.dataset.only === "true";
      if (stage.server.light) sendLight({}, "Marking");
      showLight();
      redraw();
    });
  }
  find('[data-light="size"]').addEventListener("input", (event) => setBrush({ size: event.target.value / 100 }));
}
