// "Take the light from here": the visitor clicks or paints a part of the background. The networks take their light from it
// alone, or never from it. The mark belongs to the background's photo, wherever the object lies.

import { pickTool, setBrush } from "./actions.js";
import { find, findAll, setPressed } from "./component.js";
import { redraw } from "./draw.js";
import { request, sent } from "./requests.js";
import { marksLight, shownPicture, stage } from "./state.js";
import { transfer } from "./transfer.js";

export const LIVE_SIDE = 512; // pixels: the longer side of a first live preview and of a mark, as in previews.py
let lightUploads = 0;
let lightSent = 0; // number of the last request that changed the mark; the canvas is newer than answers to earlier ones

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
