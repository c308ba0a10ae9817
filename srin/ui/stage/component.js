import { componentOf } from "../page/shared.js";

export const { element, props, trigger, watch, find, findAll, ready } = componentOf("stage");

// For screen readers.
export const say = (text) => (find(".stage-said").textContent = text);

export function setPressed(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
