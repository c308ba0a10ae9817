// Shows one pair at a time, which a picture, a button or a key answers. The server says which pair is next, and ignores an
// answer that it has counted before.

import { loadImage, recall, remember } from "../page/shared.js";
import { element, find, findAll, props, ready, trigger, watch } from "./component.js";

let rater = recall("study.rater", null);
let number = null; // pairs judged before the one that is shown; null while none can be chosen
let shown = 0; // which picture is shown large: 0 or 1

const pair = find(".study-pair");
const large = find(".study-large");

function showBallot() {
  const { ballot } = props;
  if (!ballot) return;
  showProblem(ballot.problem);
  if (ballot.problem) return;
  rater = ballot.rater;
  remember("study.rater", rater);
  find("progress").max = ballot.total;
  find("progress").value = ballot.number;
  find(".study-count").textContent = `${ballot.number} of ${ballot.total} pairs judged.`;
  find(".study-thanks").hidden = Boolean(ballot.pictures);
  find('[data-act="undo"]').disabled = ballot.number === 0;
  for (const button of findAll('[data-answer="tie"], [data-act="large"]')) button.hidden = !ballot.pictures;
  if (ballot.pictures) {
    showPair(ballot);
    return;
  }
  number = null;
  pair.hidden = true;
  find(".study-wait").hidden = true;
}

// Shows both pictures at once, when both are loaded: the first to come would draw the eye.
async function showPair(ballot) {
  try {
    const images = await Promise.all(ballot.pictures.map(loadImage));
    if (ballot.number !== props.ballot?.number) return;
    images.forEach((image, index) => {
      findAll(".study-pair img")[index].replaceWith(image);
      findAll(".study-large img")[index].src = image.src;
      image.alt = "";
      image.draggable = false;
    });
    element.style.setProperty("--ratio", String(images[0].naturalWidth / images[0].naturalHeight));
    find(".study-wait").hidden = true;
    pair.hidden = false;
    pair.classList.remove("chosen");
    number = ballot.number;
  } catch (error) {
    showProblem(error.message);
  }
}

function showProblem(said) {
  find(".study-problem").textContent = said ? `${said} Load the page again to go on.` : "";
  find(".study-problem").hidden = !said;
  if (said) find(".study-wait").hidden = true;
}

function choose(answer) {
  if (number === null) return;
  trigger("vote", { rater, number, answer });
  wait();
}

function takeBack() {
  const { ballot } = props;
  if (!ballot?.number || (ballot.pictures && number === null)) return;
  trigger("takeback", { rater, number: ballot.number });
  wait();
}

function wait() {
  number = null;
  large.close();
  pair.classList.add("chosen");
  for (const button of findAll("button")) button.blur();
}

// Shows one picture over the whole window. Switching to the other shows differences as changes.
function showLarge(which) {
  if (number === null) return;
  shown = which;
  findAll(".study-large img").forEach((image, index) => (image.hidden = index !== which));
  find(".study-which").textContent = ["The first picture", "The second picture"][which];
  if (!large.open) large.showModal();
}

const KEYS = {
  ArrowLeft: () => choose("left"),
  ArrowRight: () => choose("right"),
  ArrowDown: () => choose("tie"),
  Backspace: takeBack,
  " ": () => showLarge(large.open ? 1 - shown : 0),
};
const ACTS = {
  undo: takeBack,
  large: () => showLarge(0),
  flip: () => showLarge(1 - shown),
  "choose-shown": () => choose(["left", "right"][shown]),
  close: () => large.close(),
};

for (const button of findAll("[data-answer]")) button.addEventListener("click", () => choose(button.dataset.answer));
for (const button of findAll("[data-act]")) button.addEventListener("click", () => ACTS[button.dataset.act]());
for (const image of findAll(".study-large img")) image.addEventListener("click", ACTS.flip);

window.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key];
  if (!act || !element.isConnected || element.offsetParent === null) return;
  const isOnButton = event.target instanceof Element && event.target.closest("button");
  if (event.key === " " && isOnButton) return; // space presses the button that has the focus
  event.preventDefault();
  act();
});

watch("ballot", showBallot);
trigger("begin", { rater });
ready();
