// Where the object lies on the background: the same numbers and the same geometry as srin.composite.Placement.

import { clamp } from "../page/shared.js";

export const START = { x: 0.5, y: 0.55, scale: 0.5, rotation: 0, flip: false };
const LIMITS = { x: [-0.5, 1.5], y: [-0.5, 1.5], scale: [0.02, 5] };

export function checkedPlacement(placement) {
  const rotation = ((((placement.rotation + 180) % 360) + 360) % 360) - 180;
  const checked = { ...placement, rotation: Math.round(rotation * 100) / 100 };
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    checked[name] = Math.round(clamp(checked[name], low, high) * 1e5) / 1e5;
  }
  return checked;
}

// How many pixels of the background one pixel of the cut-out covers.
export const placedScale = (placement, background, cutout) => (placement.scale * background.height) / cutout.height;

// Lets the context draw the cut-out with its centre at 0, 0, after the view's transform.
export function applyPlacement(context, placement, background, cutout) {
  const scale = placedScale(placement, background, cutout);
  context.translate(placement.x * background.width, placement.y * background.height);
  context.rotate((placement.rotation * Math.PI) / 180);
  context.scale(placement.flip ? -scale : scale, scale);
}

// A point of the background, in fractions, as an offset from the cut-out's centre in the cut-out's pixels.
export function intoCutout(point, placement, background, cutout) {
  const dx = (point.x - placement.x) * background.width;
  const dy = (point.y - placement.y) * background.height;
  const angle = (-placement.rotation * Math.PI) / 180;
  const scale = placedScale(placement, background, cutout);
  const x = (dx * Math.cos(angle) - dy * Math.sin(angle)) / scale;
  return { x: placement.flip ? -x : x, y: (dx * Math.sin(angle) + dy * Math.cos(angle)) / scale };
}

// The inverse: fractions of the background.
export function outOfCutout(offset, placement, background, cutout) {
  const angle = (placement.rotation * Math.PI) / 180;
  const scale = placedScale(placement, background, cutout);
  const x = (placement.flip ? -offset.x : offset.x) * scale;
  const y = offset.y * scale;
  return {
    x: placement.x + (x * Math.cos(angle) - y * Math.sin(angle)) / background.width,
    y: placement.y + (x * Math.sin(angle) + y * Math.cos(angle)) / background.height,
  };
}

// A placement refers to the mask's bounding box. When editing the mask changes the box, this changes the placement so that
// the object stays where it was. Boxes are [x, y, width, height] in pixels of the object's photo.
export function followBox(placement, before, after, background) {
  const cutout = { width: before[2], height: before[3] };
  const offset = {
    x: after[0] + after[2] / 2 - (before[0] + before[2] / 2),
    y: after[1] + after[3] / 2 - (before[1] + before[3] / 2),
  };
  const centre = outOfCutout(offset, placement, background, cutout);
  return checkedPlacement({ ...placement, ...centre, scale: (placement.scale * after[3]) / before[3] });
}

// The corners and the handle for turning, in fractions of the background. The handle is `reach` pixels of the background
// beyond the upper edge.
export function handlesOf(placement, background, cutout, reach) {
  const { width, height } = cutout;
  const at = (x, y) => outOfCutout({ x: x * width, y: y * height }, placement, background, cutout);
  const top = -0.5 - reach / placedScale(placement, background, cutout) / height;
  return { corners: [at(-0.5, -0.5), at(0.5, -0.5), at(0.5, 0.5), at(-0.5, 0.5)], top: at(0, -0.5), turn: at(0, top) };
}

// A box between two corners, [x0, y0, x1, y1], no larger than the photo.
export function orderedBox(a, b) {
  const inside = (value) => clamp(value, 0, 1);
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)].map(inside);
}
