// Keys for everything that the mouse can do on the canvas. While placing, arrows move the object. While cutting out or marking
// the background, arrows move a cross, and Enter uses the tool there.

import { clamp } from "../page/shared.js";
import {
  addPoint, commitPlacement, commitPrompt, commitStroke, ensureMask, pickTool, setBrush, setPlacement, showAll, toggleMask,
  undo,
} from "./actions.js";
import { find, say } from "./component.js";
import { marksCanvas, redraw } from "./draw.js";
import { commitLight, ensureLight, markRegion } from "./light.js";
import { orderedBox } from "./placement.js";
import { canPlace, marksLight, shownPicture, shownView, stage } from "./state.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOL_KEYS = { v: "place", p: "point", n: "negative", x: "box", b: "brush", e: "erase", h: "pan" };

export let spaceIsDown = false;
let keyTimer = 0;
let boxCorner = null;

function keyDown(event) {
  if (!shownPicture()) return;
  if (usesKey(event)) {
    event.preventDefault();
    redraw();
  }
}

function usesKey(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return undo(event.shiftKey ? 1 : -1);
    return key === "y" && undo(1);
  }
  if (event.altKey) return false;
  if (key === " ") return (spaceIsDown = true);
  if (TOOL_KEYS[key]) return pickTool(TOOL_KEYS[key]);
  if (key === "m") return toggleMask();
  if (key === "0") return showAll();
  if (key === "l" && !find(".stage-placing").hidden) return (find(".light").open = true);
  return stage.view === "place" && !marksLight() ? placingKey(event, key) : cuttingKey(event, key);
}

function placingKey(event, key) {
  if (!canPlace()) return false;
  const { x, y, scale, rotation, flip } = stage.placement;
  const step = event.shiftKey ? 0.05 : 0.005;
  const change = {
    "+": { scale: scale * 1.05 },
    "=": { scale: scale * 1.05 },
    "-": { scale: scale / 1.05 },
    "[": { rotation: rotation - (event.shiftKey ? 15 : 2) },
    "]": { rotation: rotation + (event.shiftKey ? 15 : 2) },
    f: { flip: !flip },
  }[key];
  const arrow = ARROWS[key];
  if (!change && !arrow) return false;
  setPlacement(change ?? { x: x + arrow[0] * step, y: y + arrow[1] * step });
  clearTimeout(keyTimer);
  keyTimer = setTimeout(commitPlacement, 250);
  return true;
}

function cuttingKey(event, key) {
  if (key === "[" || key === "]") {
    setBrush({ size: clamp(stage.brush.size * (key === "[" ? 0.8 : 1.25), 0.004, 0.5) });
    return true;
  }
  if (key === "+" || key === "=" || key === "-") {
    const { width, height } = marksCanvas;
    shownView().zoomAt({ x: width / 2, y: height / 2 }, key === "-" ? 0.8 : 1.25);
    return true;
  }
  const arrow = ARROWS[key];
  if (arrow) {
    const step = event.shiftKey ? 0.05 : 0.01;
    const { x, y } = stage.cursor ?? { x: 0.5, y: 0.5 };
    stage.cursor = { x: clamp(x + arrow[0] * step, 0, 1), y: clamp(y + arrow[1] * step, 0, 1) };
    say(`${Math.round(stage.cursor.x * 100)} % from the left, ${Math.round(stage.cursor.y * 100)} % from the top`);
    return true;
  }
  if (key === "Enter") return useToolAtCursor();
  if (key === "Escape") {
    stage.cursor = boxCorner = null;
    return true;
  }
  return false;
}

function useToolAtCursor() {
  stage.cursor ??= { x: 0.5, y: 0.5 };
  const at = { ...stage.cursor };
  if (stage.tool === "point" || stage.tool === "negative") {
    addPoint(at, stage.tool === "point" ? 1 : 0);
  } else if (stage.tool === "light") {
    markRegion(at);
  } else if (marksLight()) {
    ensureLight();
    stage.light.stroke(at, at, stage.brush, stage.tool === "lighterase");
    commitLight();
  } else if (stage.tool === "box") {
    if (boxCorner) {
      stage.box = orderedBox(boxCorner, at);
      boxCorner = null;
      commitPrompt();
    } else {
      boxCorner = at;
      say("First corner set. Move to the opposite corner and press Enter.");
    }
  } else if ((stage.tool === "brush" || stage.tool === "erase") && ensureMask()) {
    stage.mask.stroke(at, at, stage.brush, stage.tool === "erase");
    commitStroke();
  }
  return true;
}

export function connectKeyboard() {
  marksCanvas.addEventListener("keydown", keyDown);
  marksCanvas.addEventListener("keyup", (event) => {
    if (event.key === " ") spaceIsDown = false;
  });
}
