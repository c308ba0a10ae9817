// The examples: each pasted on the left of its picture and harmonized on the right; pointing at one moves the divider.

function showExamples() {
  const { examples } = props;
  find(".gallery").hidden = !examples.length;
  const harmonized = examples.some((example) => example.after);
  find(".gallery-note").textContent = harmonized
    ? "One object, many scenes: pasted on the left, harmonized on the right. Pick one to try."
    : "One object, many scenes. Pick one to try.";
  const cards = find(".gallery-cards");
  while (cards.children.length < examples.length) cards.append(newCard(cards.children.length));
  examples.forEach((example, index) => fillCard(cards.children[index], example));
}

function newCard(index) {
  const card = document.createElement("button");
  card.type = "button";
  card.className = "gallery-card";
  card.addEventListener("click", () => {
    for (const other of findAll(".gallery-card")) other.setAttribute("aria-pressed", String(other === card));
    tell("example", index);
  });
  card.addEventListener("pointermove", (event) => {
    const { left, width } = card.getBoundingClientRect();
    card.style.setProperty("--divider", `${((event.clientX - left) / width) * 100}%`);
  });
  card.addEventListener("pointerleave", () => card.style.removeProperty("--divider"));
  return card;
}

function fillCard(card, { name, before, after }) {
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

watch("examples", showExamples);
showExamples();
