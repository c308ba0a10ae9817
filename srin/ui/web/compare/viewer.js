// The picked result, large: before and after with a divider, strength, feather, and the difference.

const DIFFERENCE_GAIN = 4;
const viewer = find(".viewer-canvas");
const layers = { composite: null, mask: null, result: null }; // images of the picked result
let mixed = null; // a canvas: the result at the chosen strength and feather
let drawing = 0;

async function loadViewer() {
  const { run, picked } = compare;
  const state = run?.tiles.find((tile) => tile.method === picked);
  find(".closer").hidden = find(".why").hidden = !state?.url;
  if (!state?.url) return;
  find(".viewer-name").textContent = state.label;
  setSource(find(".why-ask img"), run.composite);
  const urls = { composite: run.composite, mask: run.mask, result: state.url };
  const names = Object.keys(urls);
  const images = await Promise.all(names.map((name) => loadImage(urls[name])));
  if (compare.picked !== picked) return;
  names.forEach((name, index) => (layers[name] = images[index]));
  const { width, height } = layers.composite;
  element.style.setProperty("--ratio", `${width} / ${height}`);
  mixResult();
}

// composite + strength * feathered mask * (result - composite), which is what the server computes at full size.
function mixResult() {
  if (!layers.composite) return;
  const { width, height } = layers.composite;
  const { strength, feather } = compare;
  const change = newCanvas(width, height);
  const context = change.getContext("2d");
  context.drawImage(layers.result, 0, 0, width, height);
  if (feather > 0) {
    context.globalCompositeOperation = "destination-in";
    context.filter = `blur(${feather}px)`;
    context.drawImage(layers.mask, 0, 0, width, height);
  }
  mixed = newCanvas(width, height);
  const target = mixed.getContext("2d");
  target.drawImage(layers.composite, 0, 0);
  target.globalAlpha = strength;
  target.drawImage(change, 0, 0);
  drawViewer();
}

function drawViewer() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    if (mixed) paintViewer();
  });
}

function paintViewer() {
  const { width, height } = layers.composite;
  const box = viewer.getBoundingClientRect();
  const dots = Math.min(2, window.devicePixelRatio || 1);
  viewer.width = Math.max(1, Math.round(box.width * dots));
  viewer.height = Math.max(1, Math.round(box.height * dots));
  const context = viewer.getContext("2d");
  context.imageSmoothingQuality = "high";
  const show = (image) =>
    context.drawImage(
      image,
      zoom.x * viewer.width,
      zoom.y * viewer.height,
      zoom.scale * viewer.width,
      zoom.scale * viewer.height
    );
  if (compare.holding) {
    show(layers.composite);
  } else if (compare.view === "difference") {
    const difference = newCanvas(width, height);
    const target = difference.getContext("2d");
    target.drawImage(mixed, 0, 0);
    target.globalCompositeOperation = "difference";
    target.drawImage(layers.composite, 0, 0);
    context.filter = `brightness(${DIFFERENCE_GAIN})`;
    show(difference);
    context.filter = "none";
  } else {
    show(mixed);
    paintBefore(context, show);
  }
}

// The composite, left of the divider.
function paintBefore(context, show) {
  const at = (compare.divider / 100) * viewer.width;
  context.save();
  context.beginPath();
  context.rect(0, 0, at, viewer.height);
  context.clip();
  show(layers.composite);
  context.restore();
  context.fillStyle = "rgb(0 0 0 / 0.5)";
  context.fillRect(at - 2, 0, 4, viewer.height);
  context.fillStyle = "#fff";
  context.fillRect(at - 1, 0, 2, viewer.height);
  context.beginPath();
  context.arc(at, viewer.height / 2, viewer.height / 40 + 6, 0, 7);
  context.fill();
}

function moveDivider(percent) {
  compare.divider = clamp(percent, 0, 100);
  find('[data-view="divider"]').value = compare.divider;
  drawViewer();
}

function connectViewer() {
  const box = find(".viewer");
  let dragging = false;
  const nearDivider = (event) => {
    const { left, width } = box.getBoundingClientRect();
    return Math.abs(event.clientX - left - (compare.divider / 100) * width) < 28;
  };
  const follow = (event) => {
    const { left, width } = box.getBoundingClientRect();
    moveDivider(((event.clientX - left) / width) * 100);
  };
  connectZoom(box, {
    onHold: showOriginal,
    takes(event) {
      dragging = compare.view === "pair" && nearDivider(event);
      if (dragging) box.setPointerCapture(event.pointerId);
      return dragging;
    },
  });
  box.addEventListener("pointermove", (event) => dragging && follow(event));
  for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, () => (dragging = false));
  new ResizeObserver(drawViewer).observe(box);
}
