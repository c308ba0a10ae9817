// Adopts the server's answer, its state, as a whole or not at all.

import { loadImage, tell } from "../page/shared.js";
import { announce, showView } from "./actions.js";
import { askLive, askMap, watchSegmentation } from "./background.js";
import { props } from "./component.js";
import { redraw } from "./draw.js";
import { History } from "./history.js";
import { adoptLight } from "./light.js";
import { showPanel, showProposals } from "./panel.js";
import { checkedPlacement, followBox } from "./placement.js";
import { haveAnswered, pendingCount, release, startFrom } from "./requests.js";
import { useLook } from "./result.js";
import { cuttable, marksLight, stage, undoable, viewOf, views } from "./state.js";
import { tellArrivals, withCopies } from "./transfer.js";
import { bringBack, work } from "./work.js";

let lastRevision = 0;

export async function adopt() {
  const next = props.state && withCopies(props.state);
  const known = stage.server.work?.session;
  const isForgotten = Boolean(known && next && next.work.session !== known);
  if (!next || (next.revision <= lastRevision && !isForgotten)) return;
  lastRevision = next.revision;
  const before = stage.server;
  const changed = next.key !== before.key || next.placement?.serial !== before.placement?.serial;
  let images;
  try {
    images = await loadImages(next, before);
  } catch (error) {
    // The server is gone, or the preview has expired. The page stays as it was, and counts the requests as answered.
    if (next.revision !== lastRevision) return;
    haveAnswered(next.answered);
    stage.problem = error.message;
    showPanel();
    release();
    return;
  }
  if (next.revision !== lastRevision) return; // a newer answer came while the pictures were loading
  stage.server = next;
  Object.assign(stage.images, images);
  if (isForgotten) {
    startFrom(next.answered);
    stage.history = new History();
  }
  haveAnswered(next.answered);
  stage.problem = next.problem;
  stage.way = next.way;
  if (["background", "object", "picture"].some((role) => next[role]?.identity !== before[role]?.identity)) {
    useLook(stage.restoring?.look ?? { strength: 1, moved: {} }); // another scene begins with no changes to its look
  }
  work.saysProject = "";
  if (JSON.stringify(next.work.settings) !== JSON.stringify(before.work?.settings ?? {})) {
    work.settings = next.work.settings;
    tell("use-settings", work.settings);
  }
  work.replaced = replacedText(next, before);
  adoptPlacement(next, before);
  adoptLight(next);
  adoptMask(next, before);
  adoptView(next, before);
  showProposals();
  showPanel();
  redraw();
  announce();
  release();
  tellArrivals();
  if (pendingCount() === 0) stage.asked = ""; // later answers are not to a person's request
  watchSegmentation();
  if (isForgotten) bringBack();
  const begins = before.segmentation?.state === "unavailable" && next.segmentation?.state === "preparing";
  if (changed || begins) {
    askLive();
    askMap();
  }
}

// What to say if other photos replaced some that had a mask.
function replacedText(next, before) {
  if (!before.mask || stage.restoring || next.photos === before.photos) return "";
  if (stage.asked === "another") return "The picture with its object is the background now. Undo takes that back.";
  return next.way === before.way ? "Other photos took the place of yours. Undo brings yours back." : "";
}

async function loadImages(next, before) {
  const loaded = {};
  const load = async (name, now, then) => {
    if (!now) loaded[name] = null;
    else if (now.url !== then?.url) loaded[name] = await loadImage(now.url);
  };
  await Promise.all([
    ...["background", "object", "picture", "cutout"].map((name) => load(name, next[name], before[name])),
    load("maskPicture", next.mask, before.mask),
    load("lightPicture", next.light, before.light),
  ]);
  return loaded;
}

function adoptPlacement(next, before) {
  const box = next.cutout?.box;
  const sameObject = next.object && next.object.identity === before.object?.identity;
  if (stage.restoring) {
    stage.placement = stage.restoring.placement;
  } else if (next.placement && next.placement.serial !== before.placement?.serial) {
    const { serial, ...placement } = next.placement;
    stage.placement = checkedPlacement(placement);
  } else if (sameObject && box && before.cutout && next.background) {
    stage.placement = followBox(stage.placement, before.cutout.box, box, next.background);
  }
  stage.cutoutSize = box ? { width: box[2], height: box[3] } : null;
  if (next.key !== before.key) stage.live = null;
}

function adoptMask(next, before) {
  const photo = cuttable();
  const identity = (next.way === "ready" ? next.picture : next.object)?.identity ?? null;
  const samePhoto = identity === stage.maskedPhoto;
  stage.maskedPhoto = identity;
  // Also if the same photo was given once more: its clicks belong to a mask that is gone.
  if (!samePhoto || (next.photos !== before.photos && !next.mask)) {
    const { points, box } = stage.restoring ?? stage.resuming ?? { points: [], box: null };
    stage.points = points;
    stage.box = box;
    views.cut.reset();
  }
  const hasNewer = samePhoto && next.strokes < stage.strokes; // a stroke that this answer does not know yet
  const isOurs = samePhoto && next.mask?.painted && !stage.restoring; // the canvas shows it already
  if (!next.mask && !hasNewer) stage.mask.clear(photo?.width ?? 1, photo?.height ?? 1);
  else if (next.mask && next.mask.url !== before.mask?.url && !hasNewer && !isOurs) {
    stage.mask.show(stage.images.maskPicture, photo.width, photo.height);
  }
  if (!stage.restoring) stage.history.push(undoable(next));
  stage.restoring = null;
}

function adoptView(next, before) {
  if (next.background?.identity !== before.background?.identity || next.way !== before.way) views.place.reset();
  const { way } = next;
  const photo = way === "ready" ? next.picture : next.object;
  const complete = !next.missing;
  if (next.placement && next.placement.serial !== before.placement?.serial) stage.tool = "place";
  else if (photo && !complete && (stage.asked === "photo" || way !== before.way)) stage.tool = "point";
  else if (complete && lands(next, before)) stage.tool = "place";
  else if (way === "ready" && !complete && stage.tool === "place") stage.tool = "point";
  else if (!complete && marksLight()) stage.tool = "place";
  let view = stage.tool === "pan" ? stage.view : viewOf(stage.tool);
  if (view === "cut" && !cuttable()) view = stage.tool = "place";
  showView(view);
}

// Whether to show the object in its scene now: when a click, a box or a file has completed the scene. After painting or a
// segmenter's proposal, the visitor looks at the mask first.
function lands(next, before) {
  const wasComplete = before.missing === null && before.way === next.way;
  return !wasComplete && ["prompt", "photo"].includes(stage.asked);
}
