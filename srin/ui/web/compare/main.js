// The comparison: its state, and what the server tells it.

const compare = {
  run: null, // the server's view of the run, see compare.py
  picked: null, // the method looked at closely
  other: "", // what it is compared with: another method, or "", the pasted picture
  wanted: recall("picked", null), // the one that the visitor picked
  methods: new Set(),
  scene: { key: "", missing: "Add photos first.", hasSam: false },
  told: null, // the network of the live preview
  runs: 0, // started so far
  cancelled: 0, // the last of them that was cancelled
  starting: false,
  waits: "", // what is waited for before it starts
  shownComposite: null, // URL of the one that the zoom was made for
  holding: false, // the other picture is shown in place of the picked one
  goesToWhy: null, // what to do when a run is done that was started to ask why
  view: "pair", // before and after, or "difference"
  divider: 50,
  strength: 1,
  feather: 0, // pixels of the preview
};

function adoptRun() {
  const { run } = props;
  // Updates of a run that was cancelled, or followed by another, may come late.
  if (!run || run.number !== compare.runs || run.number === compare.cancelled) return;
  compare.starting = false;
  if (run.state === "error") {
    // What was there before stays.
    compare.run = compare.run?.tiles.length ? { ...compare.run, state: "error", text: run.text } : run;
  } else if (run.state === "busy" && !run.composite && compare.run?.composite) {
    // While the composite is being prepared, the former results stand, so that nothing jumps.
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
    if (compare.run.window) setHome(compare.run.window, compare.run.middle);
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
