// The picked result, large, compared with the pasted picture or another result by a divider or in turn. Strength and feather
// act on the picked result alone.

import { clamp, loadAll, newCanvas } from "../page/shared.js";
import { element, find } from "./component.js";
import { askDifference, paintDifference } from "./difference.js";
import { setSource } from "./grid.js";
import { compare, whenChanged } from "./state.js";
import { connectZoom, zoom } from "./zoom.js";

const COARSE = 4; // a much blurred mask is drawn this many times smaller
const KNOB = 15; // CSS pixels: the radius of the divider's knob
const viewer = find(".viewer-canvas");
export const layers = { composite: null, mask: null, result: null, other: null }; // images; other: compared with the result
// The layers at the viewer's size and zoom: sliders only have to mix them. `feathered` is the result under the blurred mask.
const fitted = {
  to: "",
  feather: 0,
  composite: newCanvas(1, 1),
  result: newCanvas(1, 1),
  other: newCanvas(1, 1),
  feathered: newCanvas(1, 1),
};
// What the result adds to the composite (more) and takes from it (less), for strengths above 1. of: which layers and feather.
const change = { of: "", more: newCanvas(1, 1), less: newCanvas(1, 1) };
let drawing = 0;

export async function loadViewer() {
  const { run, picked } = compare;
  const state = run?.tiles.find((tile) => tile.method === picked);
  find(".closer").hidden = find(".why").hidden = !state?.url;
  if (!state?.url) return;
  find(".viewer-name").textContent = state.label;
  setSource(find(".why-ask img"), run.composite);
  showOthers(run, picked);
  const { other } = compare;
  const against = run.tiles.find((tile) => tile.method === other);
  const urls = { composite: run.composite, mask: run.mask, result: state.url, other: against?.url ?? run.composite };
  const names = Object.keys(urls);
  const isWanted = () => compare.picked === picked && compare.other === other;
  const say = (sentence) => (find(".viewer-name").textContent = sentence);
  const images = await loadAll(Object.values(urls), isWanted, say);
  if (!images) return;
  names.forEach((name, index) => (layers[name] = images[index]));
  const { width, height } = layers.composite;
  element.style.setProperty("--ratio", `${width} / ${height}`);
  drawViewer();
  askDifference();
}

// Lists what the picked result can be compared with.
function showOthers(run, picked) {
  const select = find('[data-view="other"]');
  const others = run.tiles.filter((tile) => tile.state === "done" && tile.method !== picked);
  if (!others.some((tile) => tile.method === compare.other)) compare.other = "";
  const options = [["", "the pasted picture"], ...others.map((tile) => [tile.method, tile.label])];
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === compare.other)));
}

export function drawViewer() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    if (layers.composite) paintViewer();
  });
}

// Shows composite + strength * feathered mask * (result - composite), which is what the server computes at full size.
function paintViewer() {
  fitLayers();
  const context = viewer.getContext("2d");
  if (compare.view === "difference") {
    paintDifference(context);
    return;
  }
  context.drawImage(compare.holding ? fitted.other : fitted.composite, 0, 0);
  if (compare.holding) return;
  context.globalAlpha = Math.min(compare.strength, 1);
  context.drawImage(compare.feather ? fitted.feathered : fitted.result, 0, 0);
  context.globalAlpha = 1;
  if (compare.strength > 1) exaggerate(context);
  paintBefore(context);
}

// Scales the layers if size, zoom or pictures have changed, and feathers the result if `feather` has.
function fitLayers() {
  const box = viewer.getBoundingClientRect();
  const [width, height] = [box.width, box.height].map((side) => Math.max(1, Math.round(side * dots())));
  const place = [zoom.x * width, zoom.y * height, zoom.scale * width, zoom.scale * height];
  const urls = Object.values(layers).map((image) => image.src);
  const to = JSON.stringify([width, height, zoom, urls]);
  if (to !== fitted.to) {
    fitted.to = to;
    fitted.feather = 0;
    Object.assign(viewer, { width, height });
    for (const name of ["composite", "result", "other"]) {
      Object.assign(fitted[name], { width, height });
      const context = fitted[name].getContext("2d");
      context.imageSmoothingQuality = zoom.scale > 1 ? "low" : "high";
      context.drawImage(layers[name], ...place);
    }
  }
  if (compare.feather !== fitted.feather) featherResult(width, height, place);
}

function featherResult(width, height, place) {
  fitted.feather = compare.feather;
  const sigma = (compare.feather * place[2]) / layers.composite.width;
  const smaller = sigma > 2 * COARSE ? COARSE : 1; // such a soft mask has no detail to lose
  const mask = newCanvas(width / smaller, height / smaller);
  const soft = mask.getContext("2d");
  soft.filter = `blur(${sigma / smaller}px)`;
  const [left, top, wide, high] = place.map((side) => side / smaller);
  soft.drawImage(layers.mask, left, top, wide, high);
  Object.assign(fitted.feathered, { width, height });
  const context = fitted.feathered.getContext("2d");
  context.drawImage(fitted.result, 0, 0);
  context.globalCompositeOperation = "destination-in";
  context.drawImage(mask, 0, 0, width, height);
}

// Makes the change larger. The full result has been drawn.
function exaggerate(context) {
  const { width, height } = viewer;
  const of = JSON.stringify([fitted.to, compare.feather]);
  if (of !== change.of) {
    change.of = of;
    for (const [name, further] of [["more", "lighten"], ["less", "darken"]]) {
      Object.assign(change[name], { width, height });
      const part = change[name].getContext("2d");
      part.drawImage(fitted.composite, 0, 0);
      part.globalCompositeOperation = further;
      part.drawImage(viewer, 0, 0);
      part.globalCompositeOperation = "difference";
      part.drawImage(fitted.composite, 0, 0);
    }
  }
  add(context, change.more);
  invert(context); // a canvas can add, but not subtract
  add(context, change.less);
  invert(context);
  context.globalCompositeOperation = "source-over";
}

function add(context, part) {
  context.globalCompositeOperation = "lighter";
  context.globalAlpha = compare.strength - 1;
  context.drawImage(part, 0, 0);
  context.globalAlpha = 1;
}

function invert(context) {
  context.globalCompositeOperation = "difference";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, viewer.width, viewer.height);
}

const dots = () => Math.min(2, window.devicePixelRatio || 1);

// Draws what the result is compared with, left of the divider.
function paintBefore(context) {
  const { width, height } = viewer;
  const at = (compare.divider / 100) * width;
  if (at >= 1) context.drawImage(fitted.other, 0, 0, at, height, 0, 0, at, height);
  const unit = dots();
  const knob = KNOB * unit;
  context.fillStyle = "rgb(0 0 0 / 0.5)";
  context.fillRect(at - 2 * unit, 0, 4 * unit, height);
  context.beginPath();
  context.arc(at, height / 2, knob, 0, 7);
  context.fill();
  context.fillStyle = context.strokeStyle = "#fff";
  context.fillRect(at - unit, 0, 2 * unit, height / 2 - knob);
  context.fillRect(at - unit, height / 2 + knob, 2 * unit, height / 2);
  context.lineWidth = 2 * unit;
  context.stroke();
  for (const side of [-1, 1]) {
    context.beginPath();
    context.moveTo(at + side * 0.65 * knob, height / 2);
    context.lineTo(at + side * 0.25 * knob, height / 2 - 0.35 * knob);
    context.lineTo(at + side * 0.25 * knob, height / 2 + 0.35 * knob);
    context.fill();
  }
}

// Shows the other picture in place of the picked result, as long as a button or a key is held.
export function showOther(holds) {
  if (compare.holding === holds) return;
  compare.holding = holds;
  find(".viewer-shown").textContent = holds ? `Shown: ${find('[data-view="other"]').selectedOptions[0].label}` : "";
  drawViewer();
}

export function moveDivider(percent) {
  compare.divider = clamp(percent, 0, 100);
  find('[data-view="divider"]').value = compare.divider;
  drawViewer();
}

export function connectViewer() {
  whenChanged("view", drawViewer);
  const box = find(".viewer");
  let dragging = false;
  const nearDivider = (event) => {
    const { left, width } = box.getBoundingClientRect();
    return Math.abs(event.clientX - left - (compare.divider / 100) * width) < 28;
  };
  const follow = (event) => {
    const { left, width } = box.getBoundingClientRect();
    moveDivider(((event.clientX - left) / width) * 100);
  };
  connectZoom(box, {
    onHold: showOther,
    takes(event) {
      dragging = compare.view === "pair" && nearDivider(event);
      if (dragging) box.setPointerCapture(event.pointerId);
      return dragging;
    },
  });
  box.addEventListener("pointermove", (event) => dragging && follow(event));
  for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, () => (dragging = false));
  new ResizeObserver(drawViewer).observe(box);
  const flips = (event) => ["x", "X", " "].includes(event.key) && !event.ctrlKey && !event.metaKey;
  box.addEventListener("keydown", (event) => {
    if (!flips(event)) return;
    event.preventDefault();
    showOther(true);
  });
  box.addEventListener("keyup", (event) => flips(event) && showOther(false));
  box.addEventListener("blur", () => showOther(false));
  find('[data-view="other"]').addEventListener("change", (event) => {
    compare.other = event.target.value;
    loadViewer();
  });
}
