// Mouse, pen and touch. A gesture begins with a pointer going down and depends on the tool; a second finger turns it into
// a pinch.

import { newCanvas } from "../page/shared.js";
import { addPoint, commitPlacement, commitPrompt, commitStroke, ensureMask, setPlacement } from "./actions.js";
import { hovered } from "./background.js";
import { HANDLE, density, handlePlaces, marksCanvas, redraw } from "./draw.js";
import { spaceIsDown } from "./keyboard.js";
import { commitLight, ensureLight, markRegion } from "./light.js";
import { intoCutout, orderedBox } from "./placement.js";
import { canPlace, shownPicture, shownView, stage } from "./state.js";

const pointers = new Map();
let wheelTimer = 0;

function canvasPoint(event) {
  const { left, top, width } = marksCanvas.getBoundingClientRect();
  const factor = marksCanvas.width / width;
  return { x: (event.clientX - left) * factor, y: (event.clientY - top) * factor };
}

const nearby = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) < HANDLE * 2 * density();
const isOverObject = (point) => {
  const { x, y } = intoCutout(shownView().toPicture(point), stage.placement, shownPicture(), stage.cutoutSize);
  return Math.abs(x) < stage.cutoutSize.width / 2 && Math.abs(y) < stage.cutoutSize.height / 2;
};

// --- what dragging does with each tool: a function gets the first point (pixels of the canvas), returns { move, end, cancel }

const BEGIN = {
  place(start) {
    if (!canPlace()) return BEGIN.pan(start);
    const { corners, turn } = handlePlaces(shownPicture());
    if (nearby(start, turn)) return turnObject(start);
    if (corners.some((corner) => nearby(start, corner))) return scaleObject(start);
    return isOverObject(start) ? moveObject(start) : BEGIN.pan(start);
  },
  pan(start) {
    let last = start;
    return {
      move(point) {
        shownView().pan(point.x - last.x, point.y - last.y);
        last = point;
      },
      end() {},
      cancel() {},
    };
  },
  point: (start, event) => tap(start, (point) => addPoint(point, event.button === 2 || event.altKey ? 0 : 1)),
  negative: (start) => tap(start, (point) => addPoint(point, 0)),
  light: (start) => tap(start, markRegion),
  box(start) {
    const from = shownView().toPicture(start);
    const before = stage.box;
    return {
      move(point) {
        const to = shownView().toPicture(point);
        stage.box = orderedBox(from, to);
      },
      end: () => (stage.box === before ? undefined : commitPrompt()),
      cancel: () => (stage.box = before),
    };
  },
  brush: (start) => ensureMask() && paint(start, stage.mask, false, commitStroke),
  erase: (start) => ensureMask() && paint(start, stage.mask, true, commitStroke),
  lightbrush: (start) => paintLight(start, false),
  lighterase: (start) => paintLight(start, true),
};

function paintLight(start, erases) {
  ensureLight();
  return paint(start, stage.light, erases, commitLight);
}

function moveObject(start) {
  const before = { ...stage.placement };
  const from = shownView().toPicture(start);
  return placing(before, (point) => {
    const to = shownView().toPicture(point);
    return { x: before.x + to.x - from.x, y: before.y + to.y - from.y };
  });
}

function scaleObject(start) {
  const before = { ...stage.placement };
  const centre = shownView().fromPicture(before);
  const reach = Math.hypot(start.x - centre.x, start.y - centre.y);
  return placing(before, (point) => ({
    scale: (before.scale * Math.hypot(point.x - centre.x, point.y - centre.y)) / reach,
  }));
}

function turnObject(start) {
  const before = { ...stage.placement };
  const centre = shownView().fromPicture(before);
  const angle = (point) => (Math.atan2(point.y - centre.y, point.x - centre.x) * 180) / Math.PI;
  return placing(before, (point, event) => {
    const rotation = before.rotation + angle(point) - angle(start);
    return { rotation: event.shiftKey ? Math.round(rotation / 15) * 15 : rotation };
  });
}

function placing(before, change) {
  return {
    move: (point, event) => setPlacement(change(point, event)),
    end: () => commitPlacement(),
    cancel: () => setPlacement(before),
  };
}

// A click, unless the pointer wanders.
function tap(start, act) {
  let wandered = false;
  return {
    move(point) {
      wandered ||= Math.hypot(point.x - start.x, point.y - start.y) > HANDLE * density();
    },
    end: () => wandered || act(shownView().toPicture(start)),
    cancel() {},
  };
}

function paint(start, layer, erases, commit) {
  const before = newCanvas(layer.canvas.width, layer.canvas.height);
  before.getContext("2d").drawImage(layer.canvas, 0, 0);
  let last = shownView().toPicture(start);
  layer.stroke(last, last, stage.brush, erases);
  return {
    move(point) {
      const to = shownView().toPicture(point);
      layer.stroke(last, to, stage.brush, erases);
      last = to;
    },
    end: () => commit(),
    cancel: () => (layer.canvas = before),
  };
}

// Two fingers: on the object they move, scale and turn it; otherwise they zoom and pan.
function pinch() {
  const fingers = () => [...pointers.values()].slice(0, 2);
  const measure = () => {
    const [a, b] = fingers();
    return {
      middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 },
      reach: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)),
      angle: (Math.atan2(b.y - a.y, b.x - a.x) * 180) / Math.PI,
    };
  };
  const first = measure();
  if (stage.tool === "place" && canPlace()) {
    const before = { ...stage.placement };
    const from = shownView().toPicture(first.middle);
    return placing(before, () => {
      const now = measure();
      const to = shownView().toPicture(now.middle);
      return {
        x: before.x + to.x - from.x,
        y: before.y + to.y - from.y,
        scale: (before.scale * now.reach) / first.reach,
        rotation: before.rotation + now.angle - first.angle,
      };
    });
  }
  let last = first;
  return {
    move() {
      const now = measure();
      shownView().zoomAt(now.middle, now.reach / last.reach);
      shownView().pan(now.middle.x - last.middle.x, now.middle.y - last.middle.y);
      last = now;
    },
    end() {},
    cancel() {},
  };
}

// --- events

// Whether a touch belongs to the page, to scroll it. Before "Edit" is tapped, fingers can only tap on the canvas.
const isPages = (event) =>
  event.pointerType === "touch" && !stage.isEditing && !(["point", "negative", "light"].includes(stage.tool) && !pointers.size);

function pointerDown(event) {
  if (!shownPicture() || isPages(event)) return;
  marksCanvas.setPointerCapture(event.pointerId);
  marksCanvas.focus({ preventScroll: true }); // a finger does not, and typed numbers take effect when they lose the focus
  pointers.set(event.pointerId, canvasPoint(event));
  stage.cursor = null;
  if (pointers.size === 2) {
    stage.gesture?.cancel();
    stage.gesture = pinch();
  } else if (pointers.size === 1) {
    const tool = event.button === 1 || spaceIsDown ? "pan" : stage.tool;
    stage.gesture = BEGIN[tool](canvasPoint(event), event);
    if (stage.live && tool === "place") stage.live = null;
  }
  redraw();
}

function pointerMove(event) {
  if (!shownPicture()) return;
  const point = canvasPoint(event);
  stage.hover = event.pointerType === "touch" ? null : shownView().toPicture(point);
  if (pointers.has(event.pointerId)) {
    pointers.set(event.pointerId, point);
    stage.gesture?.move(point, event);
  } else {
    showCursor(point);
    hovered(stage.hover);
  }
  redraw();
}

function pointerUp(event) {
  if (!pointers.delete(event.pointerId) || !stage.gesture) return;
  const finished = stage.gesture;
  stage.gesture = null; // a second finger that stays down begins no new gesture
  if (event.type === "pointercancel") finished.cancel();
  else finished.end();
  redraw();
}

function showCursor(point) {
  const cursors = { pan: "grab", brush: "none", erase: "none", lightbrush: "none", lighterase: "none" };
  let cursor = cursors[stage.tool] ?? "crosshair";
  if (stage.tool === "place") {
    cursor = "default";
    if (canPlace()) {
      const { corners, turn } = handlePlaces(shownPicture());
      if (nearby(point, turn)) cursor = "grab";
      else if (corners.some((corner) => nearby(point, corner))) cursor = "nwse-resize";
      else if (isOverObject(point)) cursor = "move";
    }
  }
  marksCanvas.style.cursor = cursor;
}

// Over the placed object the wheel scales it, or turns it with shift. With ctrl, or on the photo to cut out, it zooms.
// Otherwise it scrolls the page.
function wheel(event) {
  if (!shownPicture()) return;
  const point = canvasPoint(event);
  const onObject = stage.tool === "place" && canPlace() && isOverObject(point);
  const amount = event.deltaY || event.deltaX; // browsers make shift and wheel scroll sideways
  if (onObject && !event.ctrlKey) {
    const { scale, rotation } = stage.placement;
    setPlacement(event.shiftKey ? { rotation: rotation + amount * 0.05 } : { scale: scale * Math.exp(-amount * 0.001) });
    clearTimeout(wheelTimer);
    wheelTimer = setTimeout(commitPlacement, 250);
  } else if (event.ctrlKey || stage.view === "cut") {
    shownView().zoomAt(point, Math.exp(-amount * (event.ctrlKey ? 0.005 : 0.0015)));
  } else {
    return;
  }
  event.preventDefault();
  redraw();
}

export function connectGestures() {
  marksCanvas.addEventListener("pointerdown", pointerDown);
  marksCanvas.addEventListener("pointermove", pointerMove);
  marksCanvas.addEventListener("pointerup", pointerUp);
  marksCanvas.addEventListener("pointercancel", pointerUp);
  marksCanvas.addEventListener("wheel", wheel, { passive: false });
  marksCanvas.addEventListener("contextmenu", (event) => event.preventDefault());
  marksCanvas.addEventListener("pointerleave", () => {
    stage.hover = null;
    hovered(null);
    redraw();
  });
}
