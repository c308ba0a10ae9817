import assert from "node:assert/strict";
import test from "node:test";

import {
  checkedPlacement, followBox, handlesOf, intoCutout, outOfCutout, placedScale, START,
} from "../../srin/ui/stage/placement.js";

const background = { width: 800, height: 600 };
const cutout = { width: 120, height: 200 };
const turned = { x: 0.3, y: 0.6, scale: 0.5, rotation: 33, flip: true };

const near = (actual, expected, what) => {
  for (const name of Object.keys(expected)) assert.ok(Math.abs(actual[name] - expected[name]) < 1e-4, `${what}: ${name}`);
};

test("a point goes into the cut-out and back", () => {
  for (const point of [{ x: 0.3, y: 0.6 }, { x: 0.1, y: 0.95 }, { x: -0.2, y: 1.3 }]) {
    for (const flip of [false, true]) {
      const placement = { ...turned, flip };
      const offset = intoCutout(point, placement, background, cutout);
      near(outOfCutout(offset, placement, background, cutout), point, `flip ${flip}`);
    }
  }
});

test("a quarter turn lays the object's top to the right", () => {
  const placement = { x: 0.5, y: 0.5, scale: 0.5, rotation: 90, flip: false };
  const { top } = handlesOf(placement, background, cutout, 0);
  // Half of 0.5 x 600 pixels from the middle.
  near(top, { x: 0.5 + 150 / 800, y: 0.5 }, "top");
  assert.equal(placedScale(placement, background, cutout), 300 / 200);
});

test("corners go round from the object's upper left, and the handle lies beyond its top", () => {
  const { corners, top, turn } = handlesOf({ ...START, x: 0.5, y: 0.5 }, background, cutout, 60);
  const [width, height] = [180 / 800, 300 / 600];
  near(corners[0], { x: 0.5 - width / 2, y: 0.5 - height / 2 }, "upper left");
  near(corners[2], { x: 0.5 + width / 2, y: 0.5 + height / 2 }, "lower right");
  near(turn, { x: top.x, y: top.y - 60 / 600 }, "handle");
});

test("angles stay within half a turn, and numbers within their limits", () => {
  const rotations = [190, -190, 540, 33.333].map((rotation) => checkedPlacement({ ...START, rotation }).rotation);
  assert.deepEqual(rotations, [-170, 170, -180, 33.33]);
  const far = checkedPlacement({ ...START, x: 9, y: -9, scale: 0 });
  assert.deepEqual([far.x, far.y, far.scale], [1.5, -0.5, 0.02]);
});

test("a mask whose box changes leaves what was there in its place", () => {
  const [before, after] = [[40, 30, 120, 200], [20, 30, 200, 260]];
  const moved = followBox(turned, before, after, background);
  const point = { x: 60, y: 110 }; // of the object's photo
  const from = (box) => ({ x: point.x - box[0] - box[2] / 2, y: point.y - box[1] - box[3] / 2 });
  const was = outOfCutout(from(before), turned, background, { width: before[2], height: before[3] });
  const is = outOfCutout(from(after), moved, background, { width: after[2], height: after[3] });
  near(is, was, "the point");
});
