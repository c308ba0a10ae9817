// What the canvas asks of the server besides numbered requests: the live preview, the semantic map, the mask under the mouse,
// and how far Segment Anything is. Only the newest answer of each kind counts.

import { hear, loadAll } from "../page/shared.js";
import { props, trigger, watch } from "./component.js";
import { pictureCanvas, redraw } from "./draw.js";
import { watchGetting } from "./getting.js";
import { LIVE_SIDE, showLight } from "./light.js";
import { offsets, showLook } from "./look.js";
import { showResult } from "./result.js";
import { changed, shownPicture, shownView, stage, whenChanged } from "./state.js";

const HOVER_MS = 150;
const PEEK_MS = 1000;
const MOST_WAIT_MS = 8000;
const FINE_MS = 300; // of rest before the finer live preview is asked for

let liveRequests = 0;
let liveBegan = 0;
let liveTimer = 0;
let liveWait = 0; // milliseconds from a first look to asking again
let mapRequests = 0;
let hoverRequests = 0;
let hoverTimer = 0;
let peekTimer = 0;

// Asks for a live preview by the picked network, once the object lies still.
export function askLive() {
  liveWait = PEEK_MS;
  stage.said = ""; // it was about the former live preview
  changed("status");
  askLiveAgain();
}

function askLiveAgain() {
  liveRequests += 1;
  const { server, isLive, view, method } = stage;
  const asks = isLive && !server.missing && view === "place" && method;
  showBusy(asks);
  if (!asks) return;
  liveBegan = performance.now();
  sendLive(0, false);
}

// Asks once for several reasons at the same time. During a gesture it waits.
function sendLive(wait, fine) {
  clearTimeout(liveTimer);
  liveTimer = setTimeout(() => {
    const { placement, method } = stage;
    if (stage.gesture) sendLive(FINE_MS, fine);
    else trigger("live", { request: liveRequests, placement, method, offsets: offsets(), fine, strong: stage.strength > 1 });
  }, wait);
}

// Whether the canvas shows the picture larger than the first live preview.
function wantsFine() {
  const picture = shownPicture();
  const side = picture ? Math.max(picture.width, picture.height) : 0;
  return side > LIVE_SIDE && side * shownView().scale > LIVE_SIDE;
}

function showSaid(sentence) {
  stage.said = sentence;
  changed("status");
}

function sayLost(sentence) {
  showSaid(sentence);
  showBusy(false);
}

// Marks the canvas as busy while a live preview, or a better one, is still to come.
function showBusy(isBusy) {
  pictureCanvas.setAttribute("aria-busy", Boolean(isBusy));
}

// Strengths above 1 need a second picture. It is asked for when such a strength is first chosen.
function askStrong() {
  const { live, strength } = stage;
  if (strength <= 1 || live?.images.length !== 1 || pictureCanvas.getAttribute("aria-busy") === "true") return;
  showBusy(true);
  sendLive(0, live.isFine);
}

async function adoptLive() {
  const { live } = props;
  if (live?.request !== liveRequests) return;
  stage.lightProblem = live.problem ?? "";
  showLight();
  if (live.problem) {
    stage.said = live.problem;
    showBusy(false);
  } else {
    const images = await loadAll(live.urls, () => live.request === liveRequests, sayLost);
    if (!images) return;
    if (stage.gesture) {
      sendLive(FINE_MS, live.fine);
      return;
    }
    stage.live = { images, window: live.window, isFine: live.fine, awaits: live.awaits };
    stage.chosen = live.chosen;
    showLook();
    if (live.awaits) {
      stage.said ||= `A first look by ${live.label}. The photos' regions are being found…`;
      liveTimer = setTimeout(askLiveAgain, liveWait);
      liveWait = Math.min(2 * liveWait, MOST_WAIT_MS);
    } else if (live.fine) {
      showBusy(false);
    } else {
      if (liveWait > PEEK_MS) askMap(); // the regions have been found meanwhile, so the map is another one
      stage.said = `Harmonized by ${live.label} in ${Math.round(performance.now() - liveBegan)} ms`;
      const isRough = wantsFine();
      showBusy(isRough);
      if (isRough) sendLive(FINE_MS, true);
    }
    askStrong(); // a strength above 1 may have been chosen meanwhile
  }
  changed("status");
  redraw();
}

export function askMap() {
  stage.images.map = null;
  mapRequests += 1;
  if (!stage.showsMap || stage.server.missing) return;
  trigger("map", { request: mapRequests, placement: stage.placement });
}

async function adoptMap() {
  const { map } = props;
  if (map?.request !== mapRequests) return;
  if (map.problem) {
    stage.said = map.problem;
  } else {
    const images = await loadAll([map.url], () => map.request === mapRequests, showSaid);
    if (!images) return;
    [stage.images.map] = images;
    stage.said = `${map.count} regions, drawn by ${map.segmenter}`;
  }
  changed("status");
  redraw();
}

// Asks what a click would select. at: a point in fractions of the photo, or null.
export function hovered(at) {
  clearTimeout(hoverTimer);
  hoverRequests += 1;
  if (stage.hoverMask) {
    stage.hoverMask = null;
    redraw();
  }
  const asks = at && stage.tool === "point" && stage.view === "cut" && !stage.points.length;
  if (!asks || !stage.server.segmentation) return;
  hoverTimer = setTimeout(() => trigger("hover", { request: hoverRequests, ...at }), HOVER_MS);
}

async function adoptHover() {
  const { hover } = props;
  if (!hover?.url || hover.request !== hoverRequests) return;
  const images = await loadAll([hover.url], () => hover.request === hoverRequests, () => {}); // only a hint
  if (!images) return;
  [stage.hoverMask] = images;
  redraw();
}

export function watchSegmentation() {
  clearTimeout(peekTimer);
  watchGetting();
  if (stage.server.segmentation?.state === "preparing") peekTimer = setTimeout(() => trigger("peek"), PEEK_MS);
}

export function connectBackground() {
  whenChanged("composite", askLive);
  whenChanged("composite", askMap);
  whenChanged("live", askLive);
  whenChanged("strength", askStrong);
  watch("live", adoptLive);
  watch("map", adoptMap);
  watch("hover", adoptHover);
  hear("picked", (method) => {
    stage.method = method;
    stage.live = null;
    askLive();
    showResult();
    redraw();
  });
}
