// The grid: a tile for each method, which fills as its result comes.

import { element, find } from "./component.js";
import { compare, pick } from "./state.js";
import { connectZoom } from "./zoom.js";

const tiles = new Map(); // by method

export function showGrid() {
  const { run, picked } = compare;
  const wanted = run?.tiles ?? [];
  const grid = find(".grid");
  for (const [method, tile] of tiles) {
    if (!wanted.some((state) => state.method === method)) {
      tile.box.remove();
      tiles.delete(method);
    }
  }
  for (const state of wanted) {
    if (!tiles.has(state.method)) tiles.set(state.method, newTile(state));
    showTile(tiles.get(state.method), state, state.method === picked);
  }
  // Tiles in their right place aren't moved: moving one would swallow a double click on it.
  wanted.forEach((state, index) => {
    const { box } = tiles.get(state.method);
    if (grid.children[index] !== box) grid.insertBefore(box, grid.children[index] ?? null);
  });
  find(".results").hidden = !wanted.length;
  find(".marked").hidden = !run?.marked;
}

function newTile({ method, label }) {
  const box = document.createElement("figure");
  box.className = "tile";
  box.dataset.method = method;
  const picture = document.createElement("div");
  picture.className = "tile-picture";
  const before = new Image();
  before.className = "before";
  before.alt = "";
  const after = new Image();
  after.className = "after";
  const text = document.createElement("p");
  text.className = "tile-text";
  picture.append(before, after, text);
  for (const image of [before, after]) image.draggable = false;
  const caption = document.createElement("figcaption");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  const measured = document.createElement("span");
  const alike = document.createElement("span");
  alike.className = "tile-alike";
  caption.append(button, measured, alike);
  box.append(picture, caption);
  button.addEventListener("click", () => pick(method));
  connectZoom(picture, { onTap: () => pick(method), onHold: showOriginal });
  return { box, picture, before, after, text, button, measured, alike };
}

function showTile(tile, state, isPicked) {
  const { run } = compare;
  tile.box.dataset.state = state.state;
  tile.button.disabled = state.state !== "done";
  tile.button.setAttribute("aria-pressed", String(isPicked));
  setSource(tile.before, run.composite);
  setSource(tile.after, state.url);
  tile.after.alt = state.url ? `${state.label}: the harmonized picture` : "";
  tile.text.textContent = { waiting: "waiting", running: "running…", failed: state.problem, done: "" }[state.state];
  tile.measured.textContent = state.state === "done" ? measurements(state) : "";
  tile.alike.textContent = state.alike?.length ? `no visible difference from ${listed(state.alike)}` : "";
}

const listed = (names) => [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" and ");

export function setSource(image, url) {
  image.hidden = !url;
  if (url && image.getAttribute("src") !== url) image.src = url;
}

function measurements({ ms, psnr, fmse }) {
  const parts = [`${ms.toLocaleString("en")} ms`];
  if (psnr != null) parts.push(`PSNR ${psnr.toFixed(1)} dB`, `fMSE ${fmse.toFixed(0)}`);
  return parts.join(" · ");
}

// Shows the pasted picture on all tiles.
function showOriginal(holds) {
  element.classList.toggle("holding", holds);
}
