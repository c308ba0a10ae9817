// Methods, the buttons, and what is said about a run.

import { Download, hear, recall, remember, tell, whileHeld } from "../page/shared.js";
import { element, find, findAll, props, trigger } from "./component.js";
import { askDifference } from "./difference.js";
import { showGrid } from "./grid.js";
import { compare } from "./state.js";
import { drawViewer, loadViewer, moveDivider, showOther } from "./viewer.js";
import { goHome, setZoom, zoom } from "./zoom.js";

export function showMethods() {
  const kept = recall("methods", null);
  const usable = props.methods.filter((method) => !method.problem);
  const atFirst = usable.filter((method) => !method.paper);
  const chosen = kept ? usable.filter((method) => kept.includes(method.name)) : atFirst;
  compare.methods = new Set((chosen.length ? chosen : atFirst).map((method) => method.name));
  const boxes = (methods) =>
    methods.map((method) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "checkbox";
      input.value = method.name;
      input.checked = compare.methods.has(method.name);
      input.disabled = Boolean(method.problem);
      label.title = method.problem ?? "";
      label.append(input, ` ${method.label}`);
      input.addEventListener("change", () => {
        if (input.checked) compare.methods.add(method.name);
        else compare.methods.delete(method.name);
        remember("methods", [...compare.methods]);
        showControls();
      });
      return label;
    });
  const ofPaper = props.methods.filter((method) => method.paper);
  find(".methods").append(...boxes(props.methods.filter((method) => !method.paper)));
  find(".paper-methods").append(...boxes(ofPaper));
  find(".of-paper").open = ofPaper.some((method) => compare.methods.has(method.name));
  find(".trained").textContent = props.trained;
  const missing = props.methods.filter((method) => method.problem).map((method) => method.label);
  const note = find(".methods-missing");
  note.hidden = !missing.length;
  note.textContent = `Not here: ${missing.join(", ")}. Their weights files are missing.`;
}

// The live preview runs the picked method if that is a network, otherwise the last network whose weights are here.
export function tellMethod() {
  const networks = props.methods.filter((method) => method.network && !method.problem).map((method) => method.name);
  const named = networks.includes(compare.picked) ? compare.picked : (networks.at(-1) ?? null);
  if (named !== compare.told) tell("picked", named);
  compare.told = named;
}

export function showControls() {
  const { run, scene, starting } = compare;
  const busy = starting || run?.state === "busy";
  const ready = !scene.missing && compare.methods.size > 0;
  find('[data-act="start"]').disabled = busy || !ready;
  find('[data-act="cancel"]').disabled = !busy;
  const status = find(".run-status");
  status.classList.toggle("busy", busy);
  status.classList.toggle("error", run?.state === "error" && !starting);
  const idle = scene.missing || (compare.methods.size ? "Ready. Results appear below as each method finishes." : "Choose a method.");
  status.textContent = starting ? (compare.waits || "Starting…") : (run?.text ?? idle);
  const stale = Boolean(run?.key !== undefined && run?.key !== scene.key && !busy);
  find(".stale").hidden = !stale;
  element.classList.toggle("is-stale", stale);
  const hasResult = Boolean(run?.tiles.some((tile) => tile.state === "done"));
  for (const button of findAll("[data-save]")) button.disabled = !hasResult || download.busy;
}

// A segmenter that isn't here can't be chosen, nor stay chosen.
export function showSegmenters() {
  const choice = find('[data-choice="segmenter"]');
  const sam = choice.querySelector('[value="sam"]');
  sam.disabled = !compare.scene.hasSam;
  sam.textContent = sam.disabled ? "Segment Anything (not here)" : "Segment Anything";
  choice.value = recall("segmenter", "auto");
  if (choice.selectedOptions[0]?.disabled ?? true) choice.value = "auto";
}

async function start() {
  compare.starting = true;
  compare.waits = "";
  showControls();
  compare.runs += 1;
  const number = compare.runs;
  const placement = await new Promise((resolve) => tell("ask", resolve));
  if (!compare.starting || number !== compare.runs) return; // cancelled meanwhile
  trigger("start", {
    run: number,
    methods: [...compare.methods],
    segmenter: find('[data-choice="segmenter"]').value,
    key: compare.scene.key,
    first: compare.picked ?? compare.told,
    placement,
  });
}

// The page is free at once. The server is told to stop.
function cancel() {
  compare.cancelled = compare.runs;
  compare.starting = false;
  trigger("cancel", { run: compare.runs });
  const tiles = compare.run?.tiles.filter((tile) => tile.state === "done") ?? [];
  const text = tiles.length ? "Cancelled. What was done before is kept." : "Cancelled.";
  compare.run = { ...compare.run, tiles, state: "cancelled", text };
  showGrid();
  showControls();
  loadViewer();
}

export const download = new Download(trigger, find(".saved"), find(".saving"), () => showControls());

function save(what) {
  const { picked: method, strength, feather } = compare;
  download.begin(() => ({ what, method, strength, feather, format: find('[data-choice="format"]').value }));
}

function showSetting(name) {
  const input = find(`[data-view="${name}"]`);
  find(`[data-shows="${name}"]`).textContent = name === "strength" ? `${input.value} %` : `${input.value} px`;
}

// settings: { strength, feather, method }, any of which may be missing; from restored work, a project or the Stage.
export function adoptSettings(settings) {
  for (const name of ["strength", "feather"]) {
    const value = settings[name];
    if (!Number.isFinite(value)) continue;
    compare[name] = value;
    find(`[data-view="${name}"]`).value = name === "strength" ? 100 * value : value;
    showSetting(name);
  }
  if (settings.method) compare.wanted = settings.method;
  drawViewer();
}

export function connectControls() {
  const button = find('[data-act="start"]');
  button.addEventListener("click", start);
  hear("waits", (text) => {
    compare.waits = text;
    showControls();
  });
  const scrollTo = (box) => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    box.scrollIntoView({ behavior: calm ? "auto" : "smooth" });
  };
  hear("harmonize", () => {
    if (!button.disabled) start();
    scrollTo(find(".run"));
  });
  hear("why", () => {
    const isFresh = compare.run?.key === compare.scene.key && compare.picked && !find(".why").hidden;
    if (!isFresh && !button.disabled) start();
    scrollTo(isFresh ? find(".why") : find(".run"));
    compare.goesToWhy = !isFresh && (() => scrollTo(find(".why")));
  });
  find('[data-act="cancel"]').addEventListener("click", cancel);
  whileHeld(find('[data-act="hold"]'), showOther);
  find('[data-act="unzoom"]').addEventListener("click", () => {
    if (zoom.scale === 1) goHome();
    else setZoom(1, 0, 0);
  });
  find('[data-view="divider"]').addEventListener("input", (event) => moveDivider(Number(event.target.value)));
  for (const name of ["strength", "feather"]) {
    const input = find(`[data-view="${name}"]`);
    input.addEventListener("input", () => {
      compare[name] = name === "strength" ? input.value / 100 : Number(input.value);
      showSetting(name);
      if (name === "strength") tell("use-settings", { strength: compare.strength }); // the Stage uses the same strength
      drawViewer();
      askDifference();
    });
    input.addEventListener("change", () => tell("settings", { strength: compare.strength, feather: compare.feather }));
  }
  for (const button of findAll("[data-save]")) button.addEventListener("click", () => save(button.dataset.save));
  for (const choice of findAll("[data-choice]")) {
    choice.value = recall(choice.dataset.choice, choice.value);
    choice.addEventListener("change", () => remember(choice.dataset.choice, choice.value));
  }
}
