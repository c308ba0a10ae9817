// One pair at a time: chosen by a press on a picture or by an arrow key. The server says which pair is next, and passes
// over a choice that it has counted before.

let rater = recall("study.rater", null);
let number = null; // pairs judged before the one that is shown; null while none can be chosen

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
  if (ballot.pictures) {
    showPair(ballot);
    return;
  }
  find(".study-pair").hidden = true;
  find(".study-wait").hidden = true;
}

// Both at once, and only when both are there: the first to come must not draw the eye.
async function showPair(ballot) {
  try {
    const images = await Promise.all(ballot.pictures.map(loadImage));
    if (ballot.number !== props.ballot?.number) return;
    images.forEach((image, index) => {
      const picture = findAll(".study-pair img")[index];
      picture.replaceWith(image);
      image.alt = "";
      image.draggable = false;
    });
    find(".study-wait").hidden = true;
    find(".study-pair").hidden = false;
    find(".study-pair").classList.remove("chosen");
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

function choose(side) {
  if (number === null) return;
  trigger("vote", { rater, number, side });
  number = null;
  find(".study-pair").classList.add("chosen");
  for (const button of findAll("[data-side]")) button.blur();
}

for (const button of findAll("[data-side]")) button.addEventListener("click", () => choose(button.dataset.side));

window.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
  if (!side || !element.isConnected || element.offsetParent === null) return;
  event.preventDefault();
  choose(side);
});

watch("ballot", showBallot);
trigger("begin", { rater });
