// Which part of a picture the canvas shows: zoom and pan.

import { clamp } from "../page/shared.js";

const MOST_ZOOM = 16;
const PADDING = 0.94; // the share of the canvas that the whole picture takes

export class View {
  constructor() {
    this.canvas = { width: 1, height: 1 };
    this.picture = { width: 1, height: 1 };
    this.reset();
  }

  reset() {
    this.zoom = 1; // 1 shows the whole picture
    this.centre = { x: 0.5, y: 0.5 }; // fractions of the picture, at the middle of the canvas
  }

  // How many pixels of the canvas one pixel of the picture covers.
  get scale() {
    const { canvas, picture } = this;
    return PADDING * Math.min(canvas.width / picture.width, canvas.height / picture.height) * this.zoom;
  }

  get origin() {
    const { canvas, picture, centre, scale } = this;
    return {
      x: canvas.width / 2 - centre.x * picture.width * scale,
      y: canvas.height / 2 - centre.y * picture.height * scale,
    };
  }

  // Converts pixels of the canvas to fractions of the picture.
  toPicture({ x, y }) {
    const { origin, scale, picture } = this;
    return { x: (x - origin.x) / scale / picture.width, y: (y - origin.y) / scale / picture.height };
  }

  fromPicture({ x, y }) {
    const { origin, scale, picture } = this;
    return { x: x * picture.width * scale + origin.x, y: y * picture.height * scale + origin.y };
  }

  // Zooms so that what lies at `at` (pixels of the canvas) stays there.
  zoomAt(at, factor) {
    const before = this.toPicture(at);
    this.zoom = clamp(this.zoom * factor, 1, MOST_ZOOM);
    const after = this.toPicture(at);
    this.#moveCentre(before.x - after.x, before.y - after.y);
  }

  // dx, dy: pixels of the canvas.
  pan(dx, dy) {
    const { scale, picture } = this;
    this.#moveCentre(-dx / scale / picture.width, -dy / scale / picture.height);
  }

  #moveCentre(dx, dy) {
    if (this.zoom === 1) {
      this.centre = { x: 0.5, y: 0.5 };
      return;
    }
    this.centre = { x: clamp(this.centre.x + dx, 0, 1), y: clamp(this.centre.y + dy, 0, 1) };
  }

  // Lets the context draw in the picture's pixels.
  apply(context) {
    const { origin, scale } = this;
    context.setTransform(scale, 0, 0, scale, origin.x, origin.y);
  }
}
