// Why: a click on the object asks what leaving out each region of the background would change in that part.

import { newCanvas } from "../page/shared.js";
import { find, props, trigger, watch } from "./component.js";
import { compare } from "./state.js";
import { layers } from "./viewer.js";
import { fractionsIn } from "./zoom.js";

let whyRequests = 0;

function askWhy(point) {
  if (!compare.run?.composite) return;
  if (isAsking()) trigger("cancel", { why: whyRequests }); // the older question must not delay the newer one
  whyRequests += 1;
  sayWhy("Leaving out one region after the other…", true);
  trigger("explain", { request: whyRequests, ...point });
}

const isAsking = () => !find(".why-going").hidden;

function sayWhy(text, busy = false, wrong = false) {
  const said = find(".why-said");
  said.textContent = text;
  said.classList.toggle("busy", busy);
  said.classList.toggle("error", wrong);
  find(".why-going").hidden = !busy;
}

// The page is free at once. It ignores what the server still answers, and keeps the former answer.
function cancelWhy() {
  trigger("cancel", { why: whyRequests });
  whyRequests += 1;
  sayWhy("Cancelled.");
  find(".why-ask").focus();
}

function showWhy() {
  const { why } = props;
  if (why?.request !== whyRequests) return;
  if (why.problem) {
    sayWhy(why.problem, false, true);
    return;
  }
  sayWhy("The brighter a region, the more leaving it out changes the part that you asked about, which has a green outline. Each number is measured: the network's result with the region and without it, in grey levels of 255.");
  find(".why-answers").replaceChildren(...why.items.map(newAnswer));
}

function newAnswer({ label, url, sentence, regions }) {
  const box = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const strong = regions.filter((region) => region.would);
  const weak = regions.filter((region) => !region.would);
  const name = document.createElement("b");
  name.textContent = label;
  caption.append(strong.length ? name : sentence); // the list says more than the sentence
  box.append(layered([compare.run.composite, ""], [url, `How much each region changes with ${label}`]), caption, listedRegions(strong));
  if (weak.length) {
    const others = document.createElement("details");
    const summary = document.createElement("summary");
    const most = Math.max(...weak.map((region) => region.effect ?? 0)).toFixed(1);
    const what = strong.length ? `${weak.length} more` : `${weak.length} in all`;
    summary.textContent = `${what}: ${most} grey levels at most`;
    others.append(summary, listedRegions(weak));
    box.append(others);
  }
  return box;
}

function listedRegions(regions) {
  const list = document.createElement("ul");
  list.className = "why-regions";
  list.append(...regions.map(newRegion));
  return list;
}

// Lays pictures of one size over each other. pictures: [address, alternative text].
function layered(...pictures) {
  const box = document.createElement("div");
  box.className = "why-picture";
  for (const [source, alt] of pictures) {
    const image = new Image();
    image.src = source;
    image.alt = alt;
    box.append(image);
  }
  return box;
}

function newRegion({ place, area, effect, would, scene, change, factor }) {
  const entry = document.createElement("li");
  const text = document.createElement("p");
  const title = document.createElement("b");
  title.textContent = `At the ${place}`;
  const share = `${Math.max(1, Math.round(area * 100))} % of the background`;
  const levels = effect == null ? "" : `${effect.toFixed(1)} grey levels`;
  const said = would ? `without it, this part would ${would}: ${levels} on average.` : `hardly any difference without it: ${levels}.`;
  text.append(title, `, ${share}: ${effect == null ? "nothing else is left to take the light from." : said}`);
  entry.append(text);
  if (scene) {
    const pictures = document.createElement("div");
    pictures.className = "why-pair";
    const times = factor > 1 ? `${factor} times as strong as it is` : "as strong as it is";
    pictures.append(captioned(scene, "the object without this region", "The region, outlined, and the object without it"));
    pictures.append(captioned(change, `the change, ${times}`, "What leaving it out changes: lighter, darker, warmer or cooler than grey"));
    entry.append(pictures);
  }
  return entry;
}

function captioned(source, text, alt) {
  const box = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = text;
  box.append(layered([source, alt]), caption);
  return box;
}

// A point in the middle of the object, for clicks by keyboard.
function objectCentre() {
  const side = 64;
  const canvas = newCanvas(side, side);
  const context = canvas.getContext("2d");
  context.drawImage(layers.mask, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  const inside = [];
  for (let index = 0; index < side * side; index++) if (data[4 * index + 3] > 200) inside.push(index);
  const middle = inside[Math.floor(inside.length / 2)] ?? 0;
  return { x: ((middle % side) + 0.5) / side, y: (Math.floor(middle / side) + 0.5) / side };
}

export function connectWhy() {
  const box = find(".why-ask");
  box.addEventListener("click", (event) => {
    // detail is 0 for a click by keyboard, which has no position.
    askWhy(event.detail ? fractionsIn(box, event) : objectCentre());
  });
  find('[data-act="why-cancel"]').addEventListener("click", cancelWhy);
  watch("why", showWhy);
}
