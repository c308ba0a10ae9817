// Controls for the picture on the canvas: its strength, the picture before, downloads, and adding another object.

import { Download, hear, recall, remember, tell, whileHeld } from "../page/shared.js";
import { find, findAll, props, say, trigger, watch } from "./component.js";
import { redraw } from "./draw.js";
import { offsets, showLook, useOffsets } from "./look.js";
import { request, settled } from "./requests.js";
import { changed, record, stage } from "./state.js";
import { arrived } from "./transfer.js";
import { work, workFile } from "./work.js";

const download = new Download(trigger, find(".stage-saved"), find(".stage-saving"), () => showResult());

export function showResult() {
  const { way, server, view } = stage;
  const ready = !server.missing && Boolean(server.key);
  find(".stage-placing").hidden = !ready || view !== "place";
  find(".stage-position").hidden = way === "ready";
  find('[data-look="strength"]').value = Math.round(stage.strength * 100);
  find('[data-shows="look-strength"]').textContent = `${Math.round(stage.strength * 100)} %`;
  showLook();
  for (const button of findAll("[data-take]")) {
    const lacks = ["picture", "background"].includes(button.dataset.take) && !stage.method;
    button.disabled = download.busy || lacks || !server.mask;
  }
}

// Also sets the comparison's strength, which is the same.
export function useLook({ strength, moved }) {
  stage.moved = moved;
  work.settings = { ...work.settings, strength, offsets: offsets() };
  tell("use-settings", { strength });
}

function setStrength(strength) {
  stage.strength = strength;
  showResult();
  redraw();
  changed("strength");
}

// Takes settings from restored work, or the strength from the comparison, which is the same.
function useSettings({ strength, offsets: told }) {
  if (told) useOffsets(told);
  if (Number.isFinite(strength)) setStrength(strength);
}

function showBefore(holds) {
  if (stage.holds === holds) return;
  stage.holds = holds;
  redraw();
}

// Everything that the picture depends on.
function wholeLook() {
  const { placement, method, strength, server } = stage;
  return { placement, method, strength, offsets: offsets(), key: server.key };
}

function take(what) {
  let look;
  const gather = async (waits) => {
    await arrived(waits);
    look = wholeLook();
    return { ...look, what, format: find('[data-look="format"]').value };
  };
  if (what === "background") download.begin(gather, ({ url }) => addAnother(url, look));
  else download.begin(gather);
}

// Makes the picture at `url` the background of another object, unless the scene has changed since.
async function addAnother(url, look) {
  download.say("", 0, false);
  await settled();
  if (JSON.stringify(wholeLook()) !== JSON.stringify(look)) {
    stage.problem = "The scene was changed while its picture was made, so nothing was added. Press the button again.";
    changed("panel");
    return;
  }
  request("another", { path: url.replace(workFile(""), ""), placement: look.placement }, "Adding the picture as background");
  await settled();
  say("The picture is the background now. Choose the photo of another object.");
}

export function connectResult() {
  const slider = find('[data-look="strength"]');
  slider.addEventListener("input", () => {
    setStrength(slider.value / 100);
    tell("use-settings", { strength: stage.strength });
  });
  slider.addEventListener("change", () => {
    record();
    tell("settings", { strength: stage.strength });
  });
  hear("use-settings", useSettings);
  const format = find('[data-look="format"]');
  format.value = recall("format", format.value);
  format.addEventListener("change", () => remember("format", format.value));
  for (const button of findAll("[data-take]")) button.addEventListener("click", () => take(button.dataset.take));
  whileHeld(find('[data-act="before"]'), showBefore);
  watch("saved", () => download.adopt(props.saved));
}
