// One zoom for all pictures of the comparison. Places are fractions of a picture's box. It begins at "home", which shows the
// object with a margin.

import { clamp } from "../page/shared.js";
import { element, find } from "./component.js";
import { changed } from "./state.js";

const MOST = 12;
const MARGIN = 0.12; // of the object's longer side, on each side of it; as in framing.py
export const zoom = { scale: 1, x: 0, y: 0 }; // a point p of the picture appears at p * scale + (x, y)
const home = { scale: 1, x: 0, y: 0 };

export function setZoom(scale, x, y) {
  zoom.scale = clamp(scale, 1, MOST);
  zoom.x = clamp(x, 1 - zoom.scale, 0);
  zoom.y = clamp(y, 1 - zoom.scale, 0);
  element.style.setProperty("--zoom", `translate(${zoom.x * 100}%, ${zoom.y * 100}%) scale(${zoom.scale})`);
  element.classList.toggle("zoomed", isZoomed());
  const whole = zoom.scale === 1 && home.scale > 1;
  find('[data-act="unzoom"]').textContent = whole ? "Zoom to the object" : "Whole picture";
  changed("view");
}

// Whether it is closer than home. Then wheel and fingers move the picture instead of the page.
const isZoomed = () => zoom.scale > home.scale * 1.001;

// window: x, y, width, height of the box around the object, in fractions of the picture. middle: where to split the picture.
// Returns where `middle` is at home, in per cent of a picture's box.
export function setHome([x, y, width, height], middle) {
  const [middleX, middleY] = [x + width / 2, y + height / 2];
  home.scale = clamp(1 / (Math.max(width, height) * (1 + 2 * MARGIN)), 1, MOST);
  home.x = clamp(0.5 - middleX * home.scale, 1 - home.scale, 0);
  home.y = clamp(0.5 - middleY * home.scale, 1 - home.scale, 0);
  goHome();
  return (middle * home.scale + home.x) * 100;
}

export const goHome = () => setZoom(home.scale, home.x, home.y);

function zoomAt(point, factor) {
  const scale = clamp(zoom.scale * factor, 1, MOST);
  const ratio = scale / zoom.scale;
  setZoom(scale, point.x - (point.x - zoom.x) * ratio, point.y - (point.y - zoom.y) * ratio);
}

export function fractionsIn(box, event) {
  const { left, top, width, height } = box.getBoundingClientRect();
  return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
}

/**
 * Zoom and pan on a box. At home the wheel scrolls the page, unless ctrl or the command key is held.
 * @param {HTMLElement} box
 * @param {{ onTap?: (event: PointerEvent) => void, onHold?: (holds: boolean) => void,
 *   takes?: (event: PointerEvent) => boolean }} how onTap: a short press; onHold: a longer one begins, or ends; takes:
 *   whether a press is used by something else, and is no tap, hold or pan
 */
export function connectZoom(box, { onTap = () => {}, onHold = () => {}, takes = () => false }) {
  const fingers = new Map();
  let began = null;
  let holding = false;
  let timer = 0;
  const release = () => {
    clearTimeout(timer);
    if (holding) onHold(false);
    holding = false;
  };
  box.addEventListener(
    "wheel",
    (event) => {
      if (!isZoomed() && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomAt(fractionsIn(box, event), Math.exp(-event.deltaY * (event.ctrlKey ? 0.006 : 0.002)));
    },
    { passive: false }
  );
  box.addEventListener("dblclick", (event) => {
    if (isZoomed()) goHome();
    else zoomAt(fractionsIn(box, event), 4);
  });
  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, fractionsIn(box, event));
    if (fingers.size === 2) {
      release();
      began = null;
      return;
    }
    if (takes(event)) return;
    began = { point: fractionsIn(box, event), zoom: { ...zoom }, wandered: false };
    timer = setTimeout(() => {
      if (began && !began.wandered) {
        holding = true;
        onHold(true);
      }
    }, 180);
  });
  box.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const point = fractionsIn(box, event);
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const before = Math.hypot(a.x - b.x, a.y - b.y);
      fingers.set(event.pointerId, point);
      const [c, d] = [...fingers.values()];
      zoomAt({ x: (c.x + d.x) / 2, y: (c.y + d.y) / 2 }, Math.hypot(c.x - d.x, c.y - d.y) / Math.max(0.01, before));
      return;
    }
    if (!began) return;
    const dx = point.x - began.point.x;
    const dy = point.y - began.point.y;
    if (Math.hypot(dx, dy) > 0.02) began.wandered = true;
    if (began.wandered && zoom.scale > 1 && !holding) {
      box.setPointerCapture(event.pointerId);
      setZoom(zoom.scale, began.zoom.x + dx, began.zoom.y + dy);
    }
  });
  const end = (event) => {
    fingers.delete(event.pointerId);
    if (began && !began.wandered && !holding && event.type === "pointerup") onTap(event);
    release();
    began = null;
  };
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
  box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && release());
}
