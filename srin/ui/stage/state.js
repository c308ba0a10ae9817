// What the Stage shows and works on, and what of it is in view.

import { recall } from "../page/shared.js";
import { MaskLayer } from "./brush.js";
import { History } from "./history.js";
import { START } from "./placement.js";
import { View } from "./view.js";

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
  cutoutSize: null, // of the mask's bounding box, in pixels of the object's proxy
  mask: new MaskLayer(),
  light: new MaskLayer(), // what is marked on the background
  lightOnly: true, // whether the networks take their light from there alone, or never
  lightProblem: "", // why they can't
  showsMask: true,
  showsMap: false,
  brush: recall("brush", { size: 0.05, hardness: 0.8 }),
  hover: null,
  cursor: null,
  live: null, // { images, window, isFine, awaits } of the live preview, at strength 1, or at 1 and 2
  strength: 1, // of the harmonization on the canvas and in its download
  moved: {}, // by slider: how far from where the network set it, -1 to 1
  chosen: null, // by slider: what the network set
  holds: false, // what was before it is shown
  isEditing: false, // by fingers: else one scrolls the page
  asked: "", // the kind of the last request
  isLive: recall("live", true),
  method: null, // of the live preview
  hoverMask: null,
  said: "", // of what goes on in the background
  history: new History(),
  server: /** @type {any} */ ({}), // what it has told, see view in stage.py
  doing: "",
  problem: "",
};

export const cuttable = () => (stage.way === "ready" ? stage.images.picture : stage.images.object);
export const shownPicture = () => (stage.view === "place" && stage.way === "pair" ? stage.images.background : cuttable());
export const shownView = () => views[stage.view];
export const canPlace = () => Boolean(stage.way === "pair" && stage.images.background && stage.images.cutout);
