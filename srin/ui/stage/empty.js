// What the Stage shows before there are photos: a harmonized example on the canvas, and ways to begin.

import { fillCards } from "../gallery/cards.js";
import { hear, loadAll, tell } from "../page/shared.js";
import { find, findAll } from "./component.js";
import { pendingCount } from "./requests.js";
import { cuttable, shownPicture, stage } from "./state.js";

const opening = find(".opening");

export function showEmpty() {
  const { way, images, server } = stage;
  const isUntouched = untouched();
  const empty = !shownPicture();
  const roles = isUntouched && way === "pair" ? ["background", "object", "picture", "mask"] : missingRoles(way, server);
  for (const button of findAll("[data-choose]")) {
    const { choose } = button.dataset;
    const always = choose === "mask" && button.closest(".stage-cutting");
    button.hidden = !always && !roles.includes(choose);
    button.disabled = choose === "mask" && !cuttable();
  }
  find(".stage-empty").hidden = !empty;
  opening.hidden = !isUntouched || !opening.dataset.ready;
  find(".stage-empty-hint").hidden = !opening.hidden;
  find(".stage-empty-text").textContent = emptyText(way, stage.view, images);
  find(".stage-offer").hidden = !isUntouched || pendingCount() > 0;
  find(".stage-or").hidden = find(".stage-drop").hidden = find(".stage-begin").hidden = !isUntouched;
}

export const untouched = () => !(stage.server.background || stage.server.object || stage.server.picture);

function missingRoles(way, server) {
  if (way === "ready") return [server.picture ? "mask" : "picture"];
  return ["background", "object"].filter((role) => !server[role]);
}

function emptyText(way, view, images) {
  if (way === "ready") return "Begin with a composite; its mask comes next";
  if (view === "cut") return "Now the object's photo";
  return images.object ? "Now a background" : "Drop a background here, and a photo with the object";
}

async function showOpening({ opening: picture }) {
  if (!picture) return;
  const urls = [picture.before, picture.after];
  if (!(await loadAll(urls, () => true, () => {}))) return; // then the page opens without it
  urls.forEach((url, index) => (opening.querySelectorAll("img")[index].src = url));
  find(".opening-name").textContent = `${picture.name}. Move the line.`;
  opening.style.setProperty("--ratio", picture.ratio);
  splitOpening(picture.middle * 100);
  opening.dataset.ready = "yes";
  showEmpty();
}

function splitOpening(percent) {
  opening.querySelector("input").value = percent;
  opening.style.setProperty("--divider", `${percent}%`);
}

export function connectEmpty() {
  for (const button of findAll("[data-choose]")) {
    button.addEventListener("click", () => find(`input[data-for="${button.dataset.choose}"]`).click());
  }
  opening.querySelector("input").addEventListener("input", (event) => splitOpening(event.target.value));
  hear("examples", (shown) => {
    fillCards(find(".stage-offer-cards"), shown.examples);
    showOpening(shown);
  });
  tell("wants-examples");
}
