// Sliders for the network's changes to the object. They begin where the network set them; moving one adds to its change.
// Unmoved, they leave the picture as the network made it, to the bit.

import { clamp, tell } from "../page/shared.js";
import { find, findAll } from "./component.js";
import { changed, record, stage } from "./state.js";

const LOOK_WAIT = 60; // milliseconds of rest before a live preview is asked for
// The sliders: label, span to either side, and how the value is shown. Ratios are powers of two.
const LOOK = {
  exposure: { label: "Exposure", span: 2, say: (value) => `${signedNumber(value, 2)} stops` },
  temperature: { label: "Warmth", span: 30, say: (value) => signedNumber(value, 1) },
  tint: { label: "Tint", span: 30, say: (value) => signedNumber(value, 1) },
  contrast: { label: "Contrast", isRatio: true, say: (value) => `${Math.round(value * 100)} %` },
  saturation: { label: "Saturation", isRatio: true, say: (value) => `${Math.round(value * 100)} %` },
};
let lookTimer = 0;

function signedNumber(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value > 0 ? "+" : "−"}${text}`;
}

// The moved sliders as offsets for the server, see srin/offsets.py.
export function offsets() {
  const told = {};
  for (const [name, { span, isRatio }] of Object.entries(LOOK)) {
    const moved = stage.moved[name] ?? 0;
    told[name] = isRatio ? 2 ** moved : moved * span;
  }
  return told;
}

const isMoved = () => Object.values(stage.moved).some((moved) => moved !== 0);

export function showLook() {
  const { chosen } = stage;
  const told = offsets();
  find(".look").hidden = !stage.method;
  for (const [name, { isRatio, say: said }] of Object.entries(LOOK)) {
    find(`[data-offset="${name}"]`).value = stage.moved[name] ?? 0;
    find(`[data-reset="${name}"]`).disabled = !stage.moved[name];
    const value = chosen && (isRatio ? chosen[name] * told[name] : chosen[name] + told[name]);
    find(`[data-shows="look-${name}"]`).textContent = chosen ? said(value) : "";
  }
  find(".look-note").textContent = isMoved()
    ? "Changed by you. The arrows put back what the network chose."
    : "This is what the network chose for the object. Warmth and tint are in units of CIELAB.";
}

function moveLook(name, moved) {
  stage.moved = { ...stage.moved, [name]: moved };
  showLook();
  stage.said = "";
  changed("status");
  clearTimeout(lookTimer);
  lookTimer = setTimeout(() => changed("live"), LOOK_WAIT);
}

// Sets the sliders from offsets, the inverse of `offsets`.
export function useOffsets(told) {
  stage.moved = {};
  for (const [name, { span, isRatio }] of Object.entries(LOOK)) {
    const moved = isRatio ? Math.log2(told[name]) : told[name] / span;
    if (moved) stage.moved[name] = clamp(moved, -1, 1);
  }
  showLook();
  changed("live");
}

function keepLook() {
  record();
  tell("settings", { offsets: offsets() });
}

function addSlider(name, label) {
  const template = find(".look template");
  const row = template.content.firstElementChild.cloneNode(true);
  const [text, shown, input, button] = ["span", "output", "input", "button"].map((kind) => row.querySelector(kind));
  text.textContent = label;
  shown.dataset.shows = `look-${name}`;
  input.dataset.offset = button.dataset.reset = name;
  button.setAttribute("aria-label", `${label} as the network chose it`);
  template.before(row);
}

export function connectLook() {
  for (const [name, { label }] of Object.entries(LOOK)) addSlider(name, label);
  for (const input of findAll("[data-offset]")) {
    input.addEventListener("input", () => moveLook(input.dataset.offset, Number(input.value)));
    input.addEventListener("change", keepLook);
  }
  for (const button of findAll("[data-reset]")) {
    button.addEventListener("click", () => {
      moveLook(button.dataset.reset, 0);
      keepLook();
    });
  }
}
