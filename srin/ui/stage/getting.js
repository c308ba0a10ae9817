// Where Segment Anything is missing: a button to download it, how far that is, or why it can't be had. All visitors share one
// download, so the page asks the server from time to time, whoever began it.

import { timeLeft } from "../page/shared.js";
import { find, findAll, props, trigger, watch } from "./component.js";
import { stage } from "./state.js";

const RUNNING_LOOK_MS = 1000;
const IDLE_LOOK_MS = 10000;

let gettingRequests = 0;
let gettingTimer = 0;
let getting = null; // the server's last answer, see getting.py

const isMissing = () => stage.server.segmentation?.state === "unavailable";
const megabytes = (bytes) => Math.round(bytes / 1e6);

function askGetting(act = "look") {
  clearTimeout(gettingTimer);
  gettingRequests += 1;
  trigger("checkpoint", { request: gettingRequests, act });
}

function adoptGetting() {
  const { checkpoint } = props;
  if (checkpoint?.request !== gettingRequests) return;
  getting = checkpoint;
  showGetting();
  if (!isMissing()) return;
  if (getting.state === "here") trigger("peek"); // so that the open photos use it
  else watchGetting();
}

// Asks the server again from time to time, as long as it is missing and the photo to cut out is in view.
export function watchGetting() {
  clearTimeout(gettingTimer);
  if (!isMissing()) return;
  if (getting === null) askGetting();
  else gettingTimer = setTimeout(lookAgain, getting.state === "running" ? RUNNING_LOOK_MS : IDLE_LOOK_MS);
}

function lookAgain() {
  if (document.hidden || stage.view !== "cut") watchGetting();
  else askGetting();
}

export function showGetting() {
  const box = find(".stage-get");
  box.hidden = !isMissing() || !getting || getting.state === "here";
  if (box.hidden) return;
  const { state, done, size, has, free, note } = getting;
  const running = state === "running";
  const [get, cancel] = box.querySelectorAll("button");
  get.hidden = running || !size;
  get.textContent = state === "failed" ? "Try again" : has ? "Go on getting it" : "Get Segment Anything";
  get.disabled = free < size - has;
  cancel.hidden = !running;
  const bar = box.querySelector("progress");
  bar.hidden = !running;
  bar.value = running ? done / size : 0;
  box.querySelector("p").textContent = [gettingText(), note].filter(Boolean).join(" ");
}

function gettingText() {
  const { state, done, size, has, left, licence, free, problem } = getting;
  const here = has ? ` (${megabytes(has)} are here already)` : "";
  const what = `A larger network for cutting out: ${megabytes(size)} MB${here}, licence ${licence}`;
  const room = free < size - has ? `Only ${megabytes(free)} MB are free here: no room for it.` : `${(free / 1e9).toFixed(1)} GB are free here.`;
  return {
    offline: "Segment Anything is not here, and downloads are forbidden on this machine.",
    named: "Segment Anything is not here: the checkpoint that was named when the app was started is missing.",
    running: `Getting Segment Anything: ${megabytes(done)} of ${megabytes(size)} MB${timeLeft(left)}`,
    failed: problem,
  }[state] ?? `${what}. ${room}`;
}

export function connectGetting() {
  watch("checkpoint", adoptGetting);
  for (const button of findAll("[data-get]")) button.addEventListener("click", () => askGetting(button.dataset.get));
}
