import assert from "node:assert/strict";
import test from "node:test";

import { History } from "../../srin/ui/stage/history.js";

const filled = (count) => {
  const history = new History();
  for (let number = 0; number < count; number++) history.push({ number });
  return history;
};

test("undo and redo go through the entries and stop at either end", () => {
  const history = filled(3);
  assert.equal(history.move(1), null);
  assert.deepEqual([history.move(-1), history.move(-1), history.move(-1)], [{ number: 1 }, { number: 0 }, null]);
  assert.deepEqual([history.move(1), history.move(1), history.move(1)], [{ number: 1 }, { number: 2 }, null]);
});

test("what is done after an undo takes the place of what was undone", () => {
  const history = filled(3);
  history.move(-1);
  history.push({ number: 7 });
  assert.equal(history.move(1), null);
  assert.deepEqual(history.move(-1), { number: 1 });
});

test("the same twice is one step", () => {
  const history = filled(2);
  history.push({ number: 1 });
  assert.deepEqual(history.move(-1), { number: 0 });
});

test("entries are copies", () => {
  const history = new History();
  const entry = { points: [{ x: 1 }] };
  history.push(entry);
  history.push({ points: [] });
  entry.points[0].x = 2;
  history.move(-1).points[0].x = 3;
  history.move(1);
  assert.deepEqual(history.move(-1), { points: [{ x: 1 }] });
});

test("the oldest of more than forty go", () => {
  const history = filled(50);
  let steps = 0;
  while (history.move(-1)) steps += 1;
  assert.equal(steps, 39);
  assert.deepEqual(history.entries[0], { number: 10 });
});
