// Actions that change the Stage: tools, placement, clicks, strokes, undo; and telling the other components of it.

import { remember, tell } from "../page/shared.js";
import { say } from "./component.js";
import { redraw } from "./draw.js";
import { checkedPlacement } from "./placement.js";
import { request, settled } from "./requests.js";
import { useLook } from "./result.js";
import { changed, cuttable, record, shownPicture, shownView, stage, undoable, viewOf } from "./state.js";
import { transfer } from "./transfer.js";
import { keepWork } from "./work.js";

export function pickTool(tool) {
  const before = stage.view;
  stage.tool = tool;
  if (tool !== "pan") showView(viewOf(tool));
  changed("panel");
  redraw();
  // The object may have been cut out meanwhile; and no better live preview is asked for while the cut-out is shown.
  const isBack = before !== "place";
  if (stage.view === "place" && (!stage.live || (isBack && stage.live.awaits))) changed("live");
  return true;
}

export function showView(view) {
  if (stage.view !== view) stage.hover = stage.cursor = null;
  stage.view = view;
  const picture = shownPicture();
  if (picture) shownView().picture = { width: picture.width, height: picture.height };
}

// --- placing

export function setPlacement(change) {
  stage.placement = checkedPlacement({ ...stage.placement, ...change });
  stage.live = null;
  changed("numbers");
  redraw();
}

export function commitPlacement() {
  const { x, y, scale, rotation } = stage.placement;
  say(`${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top, height ${Math.round(scale * 100)} %,
    turned ${Math.round(rotation)} degrees`);
  record();
  announce();
  changed("composite");
}

// --- cutting out

export function addPoint(point, label) {
  if (point.x < 0 || point.y < 0 || point.x > 1 || point.y > 1) return;
  stage.points = [...stage.points, { ...point, label }];
  commitPrompt();
}

export function commitPrompt() {
  request("prompt", { points: stage.points, box: stage.box }, "Selecting");
}

// Makes the mask's layer as large as the photo's proxy, to paint on it. Returns false if there is no photo.
export function ensureMask() {
  const photo = cuttable();
  if (!photo) return false;
  const { width, height } = stage.mask.canvas;
  if (width !== photo.width || height !== photo.height) stage.mask.clear(photo.width, photo.height);
  return true;
}

export function commitStroke() {
  stage.strokes += 1;
  request("edit", {}, "Updating the mask", async () => {
    return { path: await transfer(await stage.mask.toFile()) };
  });
}

// --- what is seen

export function showAll() {
  shownView().reset();
  redraw();
  return true;
}

export function toggleMask() {
  stage.showsMask = !stage.showsMask;
  changed("panel");
  redraw();
  return true;
}

export function setBrush(change) {
  stage.brush = { ...stage.brush, ...change };
  remember("brush", stage.brush);
  changed("brush");
}

// --- history

export function undo(steps) {
  settled().then(() => {
    const entry = stage.history.move(steps);
    if (!entry) return;
    stage.points = entry.points;
    stage.box = entry.box;
    useLook(entry.look);
    const { version, light, photos } = undoable(stage.server);
    if (entry.version !== version || entry.light !== light || entry.photos !== photos) {
      stage.restoring = entry;
      request("restore", { version: entry.version, light: entry.light, photos: entry.photos }, "Going back");
    } else {
      stage.placement = entry.placement;
      stage.live = null;
      announce();
      changed("composite");
    }
    say(steps < 0 ? "Undone" : "Done again");
    changed("panel");
    redraw();
  });
  return true;
}

// Tells the other components the key of the present composite, so that they can mark results of another one as stale.
export function announce() {
  const { server, placement } = stage;
  const key = server.missing ? "" : server.key + (server.way === "pair" ? JSON.stringify(placement) : "");
  tell("scene", { key, missing: server.missing ?? "", placement, hasSam: Boolean(server.hasSam) });
  keepWork();
}
