// What fills the canvas while there is nothing on it: where to begin.

const OFFERED = 4; // examples

function showEmpty() {
  const { way, view, images, server } = stage;
  const roles = way === "ready" ? ["picture"] : ["background", "object"];
  for (const button of findAll("[data-choose]")) {
    const { choose } = button.dataset;
    button.hidden = !roles.includes(choose) || Boolean(server[choose]);
  }
  find(".stage-empty").hidden = Boolean(shownPicture());
  find(".stage-empty-text").textContent = emptyText(way, view, images);
  find(".stage-offer").hidden = way === "ready" || Boolean(server.background || server.object) || pendingCount() > 0;
}

function emptyText(way, view, images) {
  if (way === "ready") return "Begin with a composite; its mask comes next";
  if (view === "cut") return "Now the object's photo";
  return images.object ? "Now a background" : "Begin with two photos: a background, and one with the object";
}

function connectEmpty() {
  for (const button of findAll("[data-choose]")) {
    button.addEventListener("click", () => find(`input[data-for="${button.dataset.choose}"]`).click());
  }
  hear("examples", (examples) => fillCards(find(".stage-offer-cards"), examples.slice(0, OFFERED)));
  tell("wants-examples");
}
