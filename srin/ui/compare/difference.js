// The difference between the picked result and what it is compared with: a picture that the server computes from exact
// results, amplified so that it can be read.

import { loadAll } from "../page/shared.js";
import { find, props, trigger, watch } from "./component.js";
import { changed, compare } from "./state.js";
import { zoom } from "./zoom.js";

const WAIT = 120; // milliseconds of rest before it is asked for
const SAME = "rgb(119 119 119)"; // the colour that srin/difference.py gives to no difference
let differenceRequests = 0;
let differenceTimer = 0;
let differenceShown = null; // { image, window }

export function askDifference() {
  differenceRequests += 1;
  if (compare.view !== "difference") return;
  clearTimeout(differenceTimer);
  const { picked, other, strength, feather } = compare;
  const request = differenceRequests;
  differenceTimer = setTimeout(() => trigger("difference", { request, method: picked, other, strength, feather }), WAIT);
}

async function adoptDifference() {
  const { difference } = props;
  if (difference?.request !== differenceRequests) return;
  const legend = find(".difference-legend");
  legend.classList.toggle("error", Boolean(difference.problem));
  if (difference.problem) {
    legend.textContent = difference.problem;
    return;
  }
  const isWanted = () => difference.request === differenceRequests;
  const images = await loadAll([difference.url], isWanted, (sentence) => (legend.textContent = sentence));
  if (!images) return;
  const [image] = images;
  differenceShown = { image, window: compare.run.window };
  const times = difference.factor === 1 ? "as strong as it is" : `${difference.factor} times as strong as it is`;
  legend.textContent = `What it changes on ${difference.other}, ${times}: grey is no change; brighter parts got lighter,
    darker parts darker, orange ones warmer, blue ones cooler; pink and green are tints. On average the object changes by
    ${difference.mean.toFixed(1)} dE2000; an average below 1 is hardly seen.`;
  changed("view");
}

export function paintDifference(context) {
  const { width, height } = context.canvas;
  context.fillStyle = SAME;
  context.fillRect(0, 0, width, height);
  if (!differenceShown) return;
  const { image, window: [x, y, across, down] } = differenceShown;
  const place = (share, offset, side) => (share * zoom.scale + offset) * side;
  context.drawImage(image, place(x, zoom.x, width), place(y, zoom.y, height),
    across * zoom.scale * width, down * zoom.scale * height);
}

export function connectDifference() {
  const button = find('[data-act="difference"]');
  button.addEventListener("click", () => {
    compare.view = compare.view === "pair" ? "difference" : "pair";
    const on = compare.view === "difference";
    button.setAttribute("aria-pressed", String(on));
    find(".difference-legend").hidden = !on;
    find(".difference-legend").textContent = "Computing the difference…";
    differenceShown = null;
    askDifference();
    changed("view");
  });
  watch("difference", adoptDifference);
}
