// What is done with the picture on the canvas: its strength, a look at what was before, and taking it away.

const download = new Download(find(".stage-saved"), find(".stage-saving"), () => showResult());

function showResult() {
  const { way, server, view } = stage;
  const ready = !server.missing && Boolean(server.key);
  find(".stage-placing").hidden = !ready || view !== "place";
  find(".stage-position").hidden = way === "ready";
  find('[data-look="strength"]').value = Math.round(stage.strength * 100);
  find('[data-shows="look-strength"]').textContent = `${Math.round(stage.strength * 100)} %`;
  showLook();
  for (const button of findAll("[data-take]")) {
    const lacks = button.dataset.take === "picture" && !stage.method;
    button.disabled = download.busy || lacks || !server.mask;
  }
}

// In the comparison too: there is one strength.
function useLook({ strength, moved }) {
  stage.moved = moved;
  work.settings = { ...work.settings, strength, offsets: offsets() };
  tell("use-settings", { strength });
}

function setStrength(strength) {
  stage.strength = strength;
  showResult();
  redraw();
}

// Of work that was brought back, or from the comparison: there is one strength.
function useSettings({ strength, offsets: told }) {
  if (told) useOffsets(told);
  if (Number.isFinite(strength)) setStrength(strength);
}

function showBefore(holds) {
  if (stage.holds === holds) return;
  stage.holds = holds;
  redraw();
}

function take(what) {
  download.begin(async () => {
    await settled();
    const { placement, method, strength } = stage;
    return { what, placement, method, strength, offsets: offsets(), format: find('[data-look="format"]').value };
  });
}

function connectResult() {
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
