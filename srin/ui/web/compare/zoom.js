// One zoom for all pictures of the comparison. Places are fractions of a picture's box.

const MOST = 12;
const zoom = { scale: 1, x: 0, y: 0 }; // a point p of the picture appears at p * scale + (x, y)

function setZoom(scale, x, y) {
  zoom.scale = clamp(scale, 1, MOST);
  zoom.x = clamp(x, 1 - zoom.scale, 0);
  zoom.y = clamp(y, 1 - zoom.scale, 0);
  element.style.setProperty("--zoom", `translate(${zoom.x * 100}%, ${zoom.y * 100}%) scale(${zoom.scale})`);
  element.classList.toggle("zoomed", zoom.scale > 1);
  drawViewer();
}

function zoomAt(point, factor) {
  const scale = clamp(zoom.scale * factor, 1, MOST);
  const ratio = scale / zoom.scale;
  setZoom(scale, point.x - (point.x - zoom.x) * ratio, point.y - (point.y - zoom.y) * ratio);
}

function fractionsIn(box, event) {
  const { left, top, width, height } = box.getBoundingClientRect();
  return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
}

// Zoom and pan on a box. While nothing is zoomed, the wheel scrolls the page, unless ctrl or the command key is held.
// onTap: a short press; onHold(true or false): a longer one on a picture that isn't zoomed.
function connectZoom(box, { onTap = () => {}, onHold = () => {}, takes = () => false }) {
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
      if (zoom.scale === 1 && !event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoomAt(fractionsIn(box, event), Math.exp(-event.deltaY * (event.ctrlKey ? 0.006 : 0.002)));
    },
    { passive: false }
  );
  box.addEventListener("dblclick", (event) => {
    if (zoom.scale > 1) setZoom(1, 0, 0);
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
