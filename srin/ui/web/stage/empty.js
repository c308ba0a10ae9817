// What fills the canvas while there is nothing on it: where to begin.

const OFFERED = 4; // examples

function showEmpty() {
  const { way, view, images, server } = stage;
  find(".stage-empty").hidden = Boolean(shownPicture());
  find(".stage-empty-text").textContent = emptyText(way, view, images);
  find(".stage-offer").hidden = way === "ready" || Boolean(server.background || server.object) || pendingCount() > 0;
}

function emptyText(way, view, images) {
  if (way === "ready") return "Drop a composite and its mask here";
  if (view === "cut") return "Drop the object's photo here";
  return images.object ? "Drop a background here" : "Drop two photos here: a background, and the object's";
}

function connectEmpty() {
  hear("examples", (examples) => fillCards(find(".stage-offer-cards"), examples.slice(0, OFFERED)));
  tell("wants-examples");
}
