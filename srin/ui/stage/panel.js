// The controls around the canvas: tools, photos, numbers, brush, mask operations, proposals, and what is said below.

import { remember, tell } from "../page/shared.js";
import { commitPlacement, pickTool, setBrush, setPlacement, showAll, toggleMask, undo } from "./actions.js";
import { askLive, askMap } from "./background.js";
import { find, findAll, setPressed } from "./component.js";
import { marksCanvas, redraw } from "./draw.js";
import { showEmpty, untouched } from "./empty.js";
import { addFiles } from "./files.js";
import { showGetting } from "./getting.js";
import { showInset } from "./inset.js";
import { sendLight, showLight } from "./light.js";
import { START } from "./placement.js";
import { pendingCount, request } from "./requests.js";
import { showResult } from "./result.js";
import { canPlace, cuttable, shownPicture, shownView, stage, whenChanged } from "./state.js";
import { showTransfers } from "./transfer.js";

const HINTS = {
  place: "Drag to move. Wheel or corners to scale, shift-wheel or the upper handle to turn, arrow keys to nudge, f to flip.",
  point: "Click on the object. The right button or alt-click marks what does not belong to it.",
  negative: "Click on what does not belong to the object.",
  box: "Drag a box around the object.",
  brush: "Paint over the object. [ and ] change the brush's size.",
  erase: "Paint over what does not belong to the object.",
  pan: "Drag to move the view, wheel to zoom.",
  light: "Click a part of the background. Another click takes it back.",
  lightbrush: "Paint over the background. [ and ] change the brush's size.",
  lighterase: "Paint over what is marked too much.",
};
if (matchMedia("(pointer: coarse)").matches) {
  HINTS.place = "Tap Edit, then drag to move. Two fingers, or the handles, scale and turn.";
  HINTS.point = "Tap the object. Exclude (−) marks what does not belong to it.";
  HINTS.brush = "Tap Edit, then paint over the object. Two fingers zoom.";
  HINTS.light = "Tap a part of the background. Another tap takes it back.";
  HINTS.lightbrush = "Tap Edit, then paint over the background.";
  HINTS.pan = "Drag to move the view, two fingers zoom.";
}
const NUMBERS = {
  x: { read: (p) => p.x * 100, write: (value) => ({ x: value / 100 }) },
  y: { read: (p) => p.y * 100, write: (value) => ({ y: value / 100 }) },
  scale: { read: (p) => p.scale * 100, write: (value) => ({ scale: value / 100 }) },
  rotation: { read: (p) => p.rotation, write: (value) => ({ rotation: value }) },
};

export function showPanel() {
  const { way, view, tool, server } = stage;
  const photo = shownPicture();
  find(".stage").dataset.view = view;
  for (const button of findAll("[data-way]")) setPressed(button, button.dataset.way === way);
  for (const button of findAll("[data-tool]")) {
    const placing = button.dataset.tool === "place";
    if (placing) button.querySelector("span").textContent = way === "ready" ? "Result" : "Place";
    button.disabled = placing ? !(way === "ready" ? server.mask : stage.images.background) : !(cuttable() || (button.dataset.tool === "pan" && photo));
    setPressed(button, button.dataset.tool === tool && !button.disabled);
  }
  for (const slot of findAll("[data-role]")) showSlot(slot, server[slot.dataset.role], way);
  showTransfers();
  showEmpty();
  if (!server.cutout) find('.stage-cutting [data-choose="background"]').hidden = true;
  find('[data-act="undo"]').disabled = stage.history.at <= 0;
  find('[data-act="redo"]').disabled = stage.history.at >= stage.history.entries.length - 1;
  find(".stage-zoom").hidden = !photo;
  find('[data-act="mask"]').hidden = view !== "cut" || stage.mask.isEmpty;
  setPressed(find('[data-act="mask"]'), stage.showsMask);
  showResult();
  showLight();
  showInset();
  showEdit();
  find(".stage-cutting").hidden = view !== "cut" || !photo;
  find(".stage-waiting").hidden = !find(".stage-placing").hidden || !find(".stage-cutting").hidden;
  find(".stage").dataset.empty = String(untouched());
  find(".stage-missing").textContent = untouched() && way === "pair" ? "" : (server.missing ?? "");
  find(".stage-brush").hidden = !["brush", "erase"].includes(tool);
  const next = find(".stage-next");
  next.hidden = view !== "cut" || !server.mask || Boolean(server.missing);
  next.textContent = way === "ready" ? "Harmonize it" : "Place it";
  find(".stage-maker").dataset.mask = server.mask?.url ?? "";
  find(".stage-maker").textContent = server.mask ? `Selected by: ${server.mask.segmenter}` : unmaskedText(way);
  for (const button of findAll(".stage-cutting [data-needs-mask]")) button.disabled = !server.mask;
  const live = find('[data-act="live"]');
  const incomplete = !server.key || Boolean(server.missing);
  live.hidden = incomplete || view === "cut";
  find('[data-act="map"]').hidden = incomplete;
  find(".stage-cutting-title").textContent = way === "ready" ? "Mask" : "Cut out";
  setPressed(live, stage.isLive);
  setPressed(find('[data-act="map"]'), stage.showsMap);
  showSegmentation();
  showNumbers();
  showBrush();
  showStatus();
}

// The button of touch screens that decides whether fingers edit, or scroll the page and tap.
function showEdit() {
  const edit = find('[data-act="edit"]');
  edit.hidden = !navigator.maxTouchPoints || !shownPicture();
  setPressed(edit, stage.isEditing);
  edit.textContent = stage.isEditing ? "Done" : "Edit";
  find(".stage").dataset.editing = String(stage.isEditing);
}

function unmaskedText(way) {
  return way === "ready"
    ? "Show what was pasted: choose its mask file, paint, click, or draw a box."
    : "Nothing is selected yet. Click on the object, draw a box, or paint.";
}

// Shows whether Segment Anything reads the photo, is ready, or has failed, and why. Where it is missing, see getting.js.
function showSegmentation() {
  const { segmentation } = stage.server;
  const box = find(".stage-sam");
  box.hidden = !segmentation || segmentation.state === "unavailable";
  showGetting();
  if (box.hidden) return;
  const { state, reason, progress, segmenter } = segmentation;
  box.dataset.state = state;
  box.querySelector("summary").textContent =
    {
      preparing: `Segment Anything is reading the photo: ${progress} %`,
      ready: `Ready: ${segmenter}. Point at the photo for a preview.`,
    }[state] ?? "Segment Anything can't be used: why";
  box.querySelector("p").textContent = reason;
}

function showSlot(slot, photo, way) {
  slot.hidden = slot.dataset.ways !== way;
  const picture = slot.querySelector("img");
  const hasPhoto = Boolean(photo?.url);
  picture.hidden = !hasPhoto;
  if (hasPhoto && picture.src !== new URL(photo.url, document.baseURI).href) picture.src = photo.url;
  slot.querySelector(".slot-name").textContent = photo ? (photo.name ?? "there") : "choose or drop a file";
}

function showNumbers() {
  for (const [name, { read }] of Object.entries(NUMBERS)) {
    const input = find(`[data-number="${name}"]`);
    if (document.activeElement !== input) input.value = Math.round(read(stage.placement) * 10) / 10;
  }
  setPressed(find('[data-act="flip"]'), stage.placement.flip);
}

function showBrush() {
  find('[data-brush="size"]').value = Math.round(stage.brush.size * 1000) / 10;
  find('[data-brush="hardness"]').value = Math.round(stage.brush.hardness * 100);
  find('[data-light="size"]').value = find('[data-brush="size"]').value;
}

function showStatus() {
  const busy = pendingCount() > 0;
  find(".stage").setAttribute("aria-busy", String(busy));
  const status = find(".stage-status");
  status.textContent = busy ? stage.doing : hint();
  status.classList.toggle("busy", busy);
  find(".stage-live").textContent = stage.said;
  const problem = find(".stage-problem");
  problem.firstChild.textContent = stage.problem;
  problem.hidden = !stage.problem;
  const busyNote = find(".stage-busy");
  busyNote.textContent = stage.doing;
  busyNote.hidden = !busy;
}

function hint() {
  const hasNothingToDo = !shownPicture() || (stage.tool === "place" && !canPlace());
  if (stage.way === "ready" && stage.tool === "place") return "";
  return hasNothingToDo ? "" : HINTS[stage.tool];
}

export function showProposals() {
  const strip = find(".stage-proposals");
  const proposals = stage.server.proposals ?? [];
  const photo = (stage.way === "ready" ? stage.server.picture : stage.server.object)?.url;
  strip.hidden = !proposals.length;
  strip.replaceChildren(
    ...proposals.map((proposal, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `Use proposal ${index + 1}, ${proposal.share} of the photo`);
      for (const url of [photo, proposal.url]) {
        const picture = new Image();
        picture.src = url;
        picture.alt = "";
        button.append(picture);
      }
      button.addEventListener("click", () => request("choose", { index }, "Taking the proposal"));
      return button;
    })
  );
}

// --- what the controls do

const ACTS = {
  undo: () => undo(-1),
  redo: () => undo(1),
  mask: toggleMask,
  all: showAll,
  in: () => zoomMiddle(1.4),
  out: () => zoomMiddle(1 / 1.4),
  flip: () => {
    setPlacement({ flip: !stage.placement.flip });
    commitPlacement();
  },
  reset: () => {
    setPlacement(START);
    commitPlacement();
  },
  next: () => pickTool("place"),
  harmonize: () => tell("harmonize"),
  why: () => tell("why"),
  edit: () => {
    stage.isEditing = !stage.isEditing;
    showPanel();
  },
  before: () => {}, // acts as long as it is held, see result.js
  correct: () => pickTool("point"),
  unlight: () => sendLight({ clear: true }, "Clearing the mark"),
  dismiss: () => {
    stage.problem = "";
    showStatus();
  },
  subject: () => request("subject", {}, "Looking for the subject"),
  propose: () => request("propose", {}, "Looking for whole objects"),
  invert: () => adjustMask("invert", 0),
  grow: () => adjustMask("grow", adjustAmount()),
  shrink: () => adjustMask("grow", -adjustAmount()),
  feather: () => adjustMask("feather", adjustAmount()),
  hair: () => adjustMask("hair", adjustAmount()),
  live: () => {
    stage.isLive = !stage.isLive;
    remember("live", stage.isLive);
    stage.live = null;
    showPanel();
    redraw();
    askLive();
  },
  map: () => {
    stage.showsMap = !stage.showsMap;
    showPanel();
    redraw();
    askMap();
  },
  clear: () => {
    stage.points = [];
    stage.box = null;
    request("clear", {}, "Clearing the mask");
  },
};

const adjustAmount = () => Number(find('[data-adjust="amount"]').value);
const adjustMask = (kind, amount) => request("adjust", { adjustment: kind, amount }, "Changing the mask");

function zoomMiddle(factor) {
  shownView().zoomAt({ x: marksCanvas.width / 2, y: marksCanvas.height / 2 }, factor);
  redraw();
}

export function connectPanel() {
  whenChanged("panel", showPanel);
  whenChanged("status", showStatus);
  whenChanged("numbers", showNumbers);
  whenChanged("brush", showBrush);
  for (const button of findAll("[data-act]")) button.addEventListener("click", () => ACTS[button.dataset.act]());
  for (const button of findAll("[data-tool]")) button.addEventListener("click", () => pickTool(button.dataset.tool));
  for (const button of findAll("[data-way]")) {
    button.addEventListener("click", () => request("way", { way: button.dataset.way }, "Switching"));
  }
  for (const input of findAll('input[type="file"]')) {
    input.addEventListener("change", () => {
      if (input.files.length) addFiles([...input.files], input.dataset.for);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  for (const input of findAll("[data-number]")) {
    input.addEventListener("change", () => {
      const value = Number(input.value);
      if (input.value !== "" && Number.isFinite(value)) {
        setPlacement(NUMBERS[input.dataset.number].write(value));
        commitPlacement();
      }
      showNumbers();
    });
  }
  find('[data-brush="size"]').addEventListener("input", (event) => setBrush({ size: event.target.value / 100 }));
  find('[data-brush="hardness"]').addEventListener("input", (event) => setBrush({ hardness: event.target.value / 100 }));
}
