// An example as a button: the pasted picture left of the object's middle, the harmonized one right of it. The pointer moves
// the divider.

import { tell } from "../page/shared.js";

function newCard(index) {
  const card = document.createElement("button");
  card.type = "button";
  card.className = "example";
  card.addEventListener("click", () => tell("example", index));
  card.addEventListener("pointermove", (event) => {
    const { left, width } = card.getBoundingClientRect();
    card.style.setProperty("--divider", `${((event.clientX - left) / width) * 100}%`);
  });
  card.addEventListener("pointerleave", () => card.style.setProperty("--divider", card.dataset.middle));
  return card;
}

function fillCard(card, { name, before, after, middle }) {
  card.dataset.middle = `${middle * 100}%`;
  card.style.setProperty("--divider", card.dataset.middle);
  card.title = name;
  card.setAttribute("aria-label", `Example: ${name}`);
  card.classList.toggle("has-after", Boolean(after));
  const urls = after ? [before, after] : [before];
  urls.forEach((url, index) => {
    card.children[index] ?? card.append(new Image());
    const picture = card.children[index];
    picture.alt = "";
    if (picture.getAttribute("src") !== url) picture.src = url;
  });
}

export function fillCards(box, examples) {
  while (box.children.length < examples.length) box.append(newCard(box.children.length));
  examples.forEach((example, index) => fillCard(box.children[index], example));
}
