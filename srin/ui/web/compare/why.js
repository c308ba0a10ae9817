// Why: a click on the object asks what the background did to that part.

let whyRequests = 0;

function askWhy(point) {
  if (!compare.run?.composite) return;
  whyRequests += 1;
  find(".why-said").textContent = "Leaving out one region after the other…";
  trigger("explain", { request: whyRequests, ...point });
}

function showWhy() {
  const { why } = props;
  if (why?.request !== whyRequests) return;
  const said = find(".why-said");
  said.classList.toggle("error", Boolean(why.problem));
  said.textContent = why.problem ?? "Bright: what weighs more than its area alone would. Lines: the regions of the semantic map. Green: the part you asked about. The sentences say what leaving out a region changes.";
  find(".why-answers").replaceChildren(...(why.items ?? []).map(newAnswer));
}

function newAnswer({ label, url, sentence }) {
  const box = document.createElement("figure");
  const pictures = document.createElement("div");
  pictures.className = "why-picture";
  for (const [source, alt] of [
    [compare.run.composite, ""],
    [url, `Heat map: what weighs how much for ${label}`],
  ]) {
    const image = new Image();
    image.src = source;
    image.alt = alt;
    pictures.append(image);
  }
  const caption = document.createElement("figcaption");
  const name = document.createElement("b");
  name.textContent = label;
  caption.append(name, ` ${sentence}`);
  box.append(pictures, caption);
  return box;
}

// The middle of the object, for those who don't point.
function objectCentre() {
  const side = 64;
  const canvas = newCanvas(side, side);
  const context = canvas.getContext("2d");
  context.drawImage(layers.mask, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  const inside = [];
  for (let index = 0; index < side * side; index++) if (data[4 * index + 3] > 200) inside.push(index);
  const middle = inside[Math.floor(inside.length / 2)] ?? 0;
  return { x: ((middle % side) + 0.5) / side, y: (Math.floor(middle / side) + 0.5) / side };
}

function connectWhy() {
  const box = find(".why-ask");
  box.addEventListener("click", (event) => {
    // A key's click has no place of its own.
    askWhy(event.detail ? fractionsIn(box, event) : objectCentre());
  });
  watch("why", showWhy);
}
