// Undo and redo over everything on the Stage. An entry holds all that can be undone: { placement, points, box, look, version,
// light, photos }. The last three are the server's numbers of the mask, of the mark and of the set of photos.

const MOST_STEPS = 40;

export class History {
  constructor() {
    this.entries = [];
    this.at = -1;
  }

  push(entry) {
    if (this.at >= 0 && JSON.stringify(entry) === JSON.stringify(this.entries[this.at])) return;
    this.entries.length = this.at + 1;
    this.entries.push(structuredClone(entry));
    if (this.entries.length > MOST_STEPS) this.entries.shift();
    this.at = this.entries.length - 1;
  }

  // The entry `steps` further (-1: undo, 1: redo), or null at either end.
  move(steps) {
    const to = this.at + steps;
    if (to < 0 || to >= this.entries.length) return null;
    this.at = to;
    return structuredClone(this.entries[to]);
  }
}
