// The state of the Stage, and what of it is in view.

import { changes, recall } from "../page/shared.js";
import { MaskLayer } from "./brush.js";
import { History } from "./history.js";
import { START } from "./placement.js";
import { View } from "./view.js";

// Parts that can change: "panel", all controls; "status", "numbers", "brush", some of them; "composite", what is to be
// harmonized; "live", how it is harmonized; "strength".
export const { whenChanged, changed } = changes();

const LIGHT_TOOLS = ["light", "lightbrush", "lighterase"];
export const views = { place: new View(), cut: new View() };
export const stage = {
  way: "pair", // two photos, or "ready": a composite and its mask
  view: "place", // what the canvas shows: the background with the object, or "cut": the photo that is masked
  tool: "place",
  placement: { ...START },
  points: [], // { x, y, label } in fractions of the photo
  box: null, // [x0, y0, x1, y1] in fractions of the photo
  images: { background: null, object: null, picture: null, cutout: null, map: null },
  maskedPhoto: null, // its identity, see Photo in scene.py
  cutoutSize: null, // width and height of the mask's bounding box, in pixels of the object's proxy
  mask: new MaskLayer(),
  light: new MaskLayer(), // what is marked on the background
  lightOnly: true, // whether the networks take their light from there alone, or never
  lightProblem: "", // why the networks can't take light as marked
  showsMask: true,
  showsMap: false,
  brush: recall("brush", { size: 0.05, hardness: 0.8 }),
  hover: null,
  cursor: null,
  live: null, // { images, window, isFine, awaits } of the live preview, at strength 1, or at 1 and 2
  strength: 1, // of the harmonization on the canvas and in its download
  moved: {}, // by slider: how far from where the network set it, -1 to 1
  chosen: null, // by slider: what the network set
  holds: false, // whether the picture before harmonizing is shown
  isEditing: false, // whether fingers edit, instead of scrolling the page
  asked: "", // the kind of the last request
  strokes: 0, // number of strokes painted so far; a mask from before the newest isn't shown
  gesture: null, // what a pointer that is down does, see gestures.js
  resuming: null, // the record that is being brought back, see work.js
  isLive: recall("live", true),
  method: null, // method of the live preview
  hoverMask: null,
  said: "", // a sentence about what goes on in the background
  history: new History(),
  server: /** @type {any} */ ({}), // its last state, see view in stage.py
  doing: "",
  problem: "",
};

export const cuttable = () => (stage.way === "ready" ? stage.images.picture : stage.images.object);
export const shownPicture = () => (stage.view === "place" && stage.way === "pair" ? stage.images.background : cuttable());
export const shownView = () => views[stage.view];
export const canPlace = () => Boolean(stage.way === "pair" && stage.images.background && stage.images.cutout);
export const marksLight = () => LIGHT_TOOLS.includes(stage.tool);
export const viewOf = (tool) => (tool === "place" || LIGHT_TOOLS.includes(tool) ? "place" : "cut");

// An entry of the history. mask, light, photos: from the server's state, which numbers their versions.
export function undoable({ mask, light, photos }) {
  const { placement, points, box, strength, moved } = stage;
  const versions = { version: mask?.version ?? null, light: light?.version ?? null };
  return { placement, points, box, look: { strength, moved }, ...versions, photos };
}

export function record() {
  stage.history.push(undoable(stage.server));
  changed("panel");
}
