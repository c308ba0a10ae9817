import assert from "node:assert/strict";
import test from "node:test";

import { View } from "../../srin/ui/stage/view.js";

const newView = () => {
  const view = new View();
  view.canvas = { width: 500, height: 400 };
  view.picture = { width: 1000, height: 500 };
  return view;
};
const near = (a, b) => assert.ok(Math.hypot(a.x - b.x, a.y - b.y) < 1e-9, `${JSON.stringify(a)} is not ${JSON.stringify(b)}`);

test("the whole picture lies in the middle at first", () => {
  const view = newView();
  near(view.toPicture({ x: 250, y: 200 }), { x: 0.5, y: 0.5 });
  assert.equal(view.scale, 0.94 * 0.5, "as wide as it fits, with a margin");
});

test("a point goes to the picture and back", () => {
  const view = newView();
  view.zoomAt({ x: 100, y: 300 }, 3);
  near(view.fromPicture(view.toPicture({ x: 17, y: 333 })), { x: 17, y: 333 });
});

test("zooming leaves what lies under the pointer there", () => {
  const view = newView();
  const at = { x: 200, y: 180 };
  const before = view.toPicture(at);
  view.zoomAt(at, 2);
  near(view.toPicture(at), before);
  assert.equal(view.zoom, 2);
});

test("zoom has limits, and the whole picture is always in the middle", () => {
  const view = newView();
  view.zoomAt({ x: 0, y: 0 }, 100);
  assert.equal(view.zoom, 16);
  view.pan(50, 50);
  view.zoomAt({ x: 0, y: 0 }, 0.001);
  assert.equal(view.zoom, 1);
  near(view.centre, { x: 0.5, y: 0.5 });
});

test("panning moves the picture along with the pointer, and never out of sight", () => {
  const view = newView();
  view.zoomAt({ x: 250, y: 200 }, 4);
  const point = view.toPicture({ x: 100, y: 100 });
  view.pan(30, -20);
  near(view.toPicture({ x: 130, y: 80 }), point);
  view.pan(1e6, 1e6);
  near(view.centre, { x: 0, y: 0 });
});
