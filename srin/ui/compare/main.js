// The comparison: adopts what the server tells it, and connects its parts.

import { hear, tell } from "../page/shared.js";
import { element, props, ready, watch } from "./component.js";
import {
  adoptSettings, connectControls, download, showControls, showMethods, showSegmenters, tellMethod,
} from "./controls.js";
import { connectDifference } from "./difference.js";
import { showGrid } from "./grid.js";
import { compare, whenChanged } from "./state.js";
import { connectViewer, loadViewer, moveDivider } from "./viewer.js";
import { connectWhy } from "./why.js";
import { setHome } from "./zoom.js";

function adoptRun() {
  const { run } = props;
  // Updates of a run that was cancelled, or followed by another, may come late.
  if (!run || run.number !== compare.runs || run.number === compare.cancelled) return;
  compare.starting = false;
  if (run.state === "error") {
    // Former results stay.
    compare.run = compare.run?.tiles.length ? { ...compare.run, state: "error", text: run.text } : run;
  } else if (run.state === "busy" && !run.composite && compare.run?.composite) {
    // Former results stay while the composite is being prepared, so that the layout does not jump.
    compare.run = { ...compare.run, state: "busy", text: run.text };
  } else {
    compare.run = run;
  }
  const done = compare.run.tiles.filter((tile) => tile.state === "done").map((tile) => tile.method);
  const ofPaper = new Set(props.methods.filter((method) => method.paper).map((method) => method.name));
  const last = done.findLast((name) => !ofPaper.has(name)) ?? done.at(-1) ?? compare.picked;
  compare.picked = done.includes(compare.wanted) ? compare.wanted : last;
  tell("looked-at", compare.picked);
  if (compare.run.composite) setRatio(compare.run.size);
  if (compare.run.composite !== compare.shownComposite) {
    compare.shownComposite = compare.run.composite;
    if (compare.run.window) moveDivider(setHome(compare.run.window, compare.run.middle));
  }
  showGrid();
  showControls();
  loadViewer();
  if (compare.goesToWhy && compare.run.state === "done") {
    compare.goesToWhy();
    compare.goesToWhy = null;
  }
}

function setRatio([width, height]) {
  element.style.setProperty("--ratio", `${width} / ${height}`);
}

showMethods();
connectControls();
connectViewer();
connectDifference();
connectWhy();
whenChanged("picked", () => {
  showGrid();
  loadViewer();
  tellMethod();
});
watch("run", adoptRun);
watch("saved", () => download.adopt(props.saved));
hear("use-settings", adoptSettings);
hear("forgotten", () => {
  compare.run = null;
  showGrid();
  showControls();
  loadViewer();
});
hear("scene", (scene) => {
  compare.scene = scene;
  showSegmenters();
  tellMethod();
  showControls();
});
showSegmenters();
showControls();
ready();
