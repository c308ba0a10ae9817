// What is done with the picture on the canvas: its strength, a look at what was before, and taking it away.

let saves = 0;

function showResult() {
  const { way, server, view, isSaving } = stage;
  const ready = !server.missing && Boolean(server.key);
  find(".stage-placing").hidden = !ready || view !== "place";
  find(".stage-position").hidden = way === "ready";
  find('[data-look="strength"]').value = Math.round(stage.strength * 100);
  find('[data-shows="look-strength"]').textContent = `${Math.round(stage.strength * 100)} %`;
  for (const button of findAll("[data-take]")) {
    const lacks = button.dataset.take === "picture" && !stage.method;
    button.disabled = isSaving || lacks || !server.mask;
  }
}

function setStrength(strength) {
  stage.strength = strength;
  showResult();
  redraw();
}

function showBefore(holds) {
  if (stage.holds === holds) return;
  stage.holds = holds;
  redraw();
}

async function take(what) {
  stage.isSaving = true;
  saves += 1;
  const request = saves;
  find(".stage-saved").textContent = "Starting…";
  showResult();
  await settled();
  const { placement, method, strength } = stage;
  trigger("save", { request, what, placement, method, strength, format: find('[data-look="format"]').value });
}

function adoptSaved() {
  const { saved } = props;
  if (!saved) return;
  stage.isSaving = Boolean(saved.text);
  showSaved(find(".stage-saved"), saved, saves);
  showResult();
}

function connectResult() {
  find('[data-look="strength"]').addEventListener("input", (event) => setStrength(event.target.value / 100));
  const format = find('[data-look="format"]');
  format.value = recall("format", format.value);
  format.addEventListener("change", () => remember("format", format.value));
  for (const button of findAll("[data-take]")) button.addEventListener("click", () => take(button.dataset.take));
  whileHeld(find('[data-act="before"]'), showBefore);
  watch("saved", adoptSaved);
}
