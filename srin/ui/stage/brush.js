// A mask, or a mark, to paint on: a canvas over the photo, in one colour, whose opacity is the mask.

import { newCanvas } from "../page/shared.js";

const MASK_COLOUR = [255, 70, 120];

export class MaskLayer {
  constructor() {
    this.canvas = newCanvas(1, 1);
    this.isEmpty = true;
  }

  get context() {
    return this.canvas.getContext("2d");
  }

  clear(width, height) {
    this.canvas = newCanvas(width, height);
    this.isEmpty = true;
  }

  show(image, width, height) {
    this.clear(width, height);
    this.context.drawImage(image, 0, 0, width, height);
    this.isEmpty = false;
  }

  // A stroke from `from` to `to` (fractions of the photo). brush: { size: of the photo's height, hardness: 0 to 1 }.
  stroke(from, to, brush, erases) {
    const { width, height } = this.canvas;
    const radius = Math.max(0.5, (brush.size * height) / 2);
    const stamp = brushStamp(radius, brush.hardness);
    const [x0, y0, x1, y1] = [from.x * width, from.y * height, to.x * width, to.y * height];
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius * 0.2)));
    const context = this.context;
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    for (let step = 1; step <= steps; step++) {
      const x = x0 + ((x1 - x0) * step) / steps;
      const y = y0 + ((y1 - y0) * step) / steps;
      context.drawImage(stamp, x - stamp.width / 2, y - stamp.height / 2);
    }
    this.isEmpty = false;
  }

  toFile() {
    return new Promise((resolve) => {
      this.canvas.toBlob((blob) => resolve(new File([blob], "mask.png", { type: "image/png" })), "image/png");
    });
  }
}

const stamps = new Map();

// One dab of the brush. The last few are kept, since a stroke needs the same one hundreds of times.
function brushStamp(radius, hardness) {
  const name = `${radius.toFixed(1)} ${hardness}`;
  if (!stamps.has(name)) {
    if (stamps.size > 8) stamps.clear();
    const side = Math.ceil(radius) * 2 + 2;
    const canvas = newCanvas(side, side);
    const context = canvas.getContext("2d");
    const colour = MASK_COLOUR.join(" ");
    const middle = side / 2;
    const gradient = context.createRadialGradient(middle, middle, 0, middle, middle, radius + 0.5);
    gradient.addColorStop(0, `rgb(${colour} / 1)`);
    gradient.addColorStop(Math.min(hardness, 1 - 1 / (radius + 0.5)), `rgb(${colour} / 1)`);
    gradient.addColorStop(1, `rgb(${colour} / 0)`);
    context.fillStyle = gradient;
    context.fillRect(0, 0, side, side);
    stamps.set(name, canvas);
  }
  return stamps.get(name);
}
