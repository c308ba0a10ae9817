// The Stage: its state, what changes it, and what the server answers.

const views = { place: new View(), cut: new View() };
const stage = {
  way: "pair", // two photos, or "ready": a composite and its mask
  view: "place", // what the canvas shows: the background with the object, or "cut": the photo that is masked
  tool: "place",
  placement: { ...START },
  points: [], // { x, y, label } in fractions of the photo
  box: null, // [x0, y0, x1, y1] in fractions of the photo
  images: { background: null, object: null, picture: null, cutout: null, map: null },
  maskedPhoto: null, // its identity, see Photo in scene.py
  cutoutSize: null, // of the mask's bounding box, in pixels of the object's proxy
  mask: new MaskLayer(),
  light: new MaskLayer(), // what is marked on the background
  lightOnly: true, // whether the networks take their light from there alone, or never
  lightProblem: "", // why they can't
  showsMask: true,
  showsMap: false,
  brush: recall("brush", { size: 0.05, hardness: 0.8 }),
  hover: null,
  cursor: null,
  live: null, // { images, window, isFine, awaits } of the live preview, at strength 1, or at 1 and 2
  strength: 1, // of the harmonization on the canvas and in its download
  moved: {}, // by slider: how far from where the network set it, -1 to 1
  chosen: null, // by slider: what the network set
  holds: false, // what was before it is shown
  isEditing: false, // by fingers: else one scrolls the page
  asked: "", // the kind of the last request
  isLive: recall("live", true),
  method: null, // of the live preview
  hoverMask: null,
  said: "", // of what goes on in the background
  history: new History(),
  server: {},
  doing: "",
  problem: "",
};

const cuttable = () => (stage.way === "ready" ? stage.images.picture : stage.images.object);
const shownPicture = () => (stage.view === "place" && stage.way === "pair" ? stage.images.background : cuttable());
const shownView = () => views[stage.view];
const canPlace = () => Boolean(stage.way === "pair" && stage.images.background && stage.images.cutout);

function pickTool(tool) {
  const before = stage.view;
  stage.tool = tool;
  if (tool !== "pan") showView(viewOf(tool));
  showPanel();
  redraw();
  // The object may have been cut out since; and on the cut-out nothing follows a first look.
  const isBack = before !== "place";
  if (stage.view === "place" && (!stage.live || (isBack && stage.live.awaits))) askLive();
  return true;
}

function showView(view) {
  if (stage.view !== view) stage.hover = stage.cursor = null;
  stage.view = view;
  const picture = shownPicture();
  if (picture) shownView().picture = { width: picture.width, height: picture.height };
}

// --- placing

function setPlacement(change) {
  stage.placement = checkedPlacement({ ...stage.placement, ...change });
  stage.live = null;
  showNumbers();
  redraw();
}

function commitPlacement() {
  const { x, y, scale, rotation } = stage.placement;
  say(`${Math.round(x * 100)} % from the left, ${Math.round(y * 100)} % from the top, height ${Math.round(scale * 100)} %,
    turned ${Math.round(rotation)} degrees`);
  record();
  announce();
  askLive();
  askMap();
}

// --- cutting out

function addPoint(point, label) {
  if (point.x < 0 || point.y < 0 || point.x > 1 || point.y > 1) return;
  stage.points = [...stage.points, { ...point, label }];
  commitPrompt();
}

function commitPrompt() {
  request("prompt", { points: stage.points, box: stage.box }, "Selecting");
}

// The layer to paint on, as large as the photo's proxy.
function ensureMask() {
  const photo = cuttable();
  if (!photo) return false;
  const { width, height } = stage.mask.canvas;
  if (width !== photo.width || height !== photo.height) stage.mask.clear(photo.width, photo.height);
  return true;
}

let strokes = 0; // painted so far; a mask that arrives after a newer stroke isn't shown

function commitStroke() {
  strokes += 1;
  request("edit", {}, "Updating the mask", async () => {
    return { path: await transfer(await stage.mask.toFile()) };
  });
}

// --- history

function record() {
  stage.history.push(undoable(stage.server));
  showPanel();
}

function undoable({ mask, light, photos }) {
  const { placement, points, box, strength, moved } = stage;
  const versions = { version: mask?.version ?? null, light: light?.version ?? null };
  return { placement, points, box, look: { strength, moved }, ...versions, photos };
}

function undo(steps) {
  settled().then(() => {
    const entry = stage.history.move(steps);
    if (!entry) return;
    stage.points = entry.points;
    stage.box = entry.box;
    useLook(entry.look);
    const { version, light, photos } = undoable(stage.server);
    if (entry.version !== version || entry.light !== light || entry.photos !== photos) {
      stage.restoring = entry;
      request("restore", { version: entry.version, light: entry.light, photos: entry.photos }, "Going back");
    } else {
      stage.placement = entry.placement;
      stage.live = null;
      announce();
      askLive();
      askMap();
    }
    say(steps < 0 ? "Undone" : "Done again");
    showPanel();
    redraw();
  });
  return true;
}

// --- the server's answer

let lastRevision = 0;

async function adopt() {
  const next = props.state && withCopies(props.state);
  const known = stage.server.work?.session;
  const isForgotten = Boolean(known && next && next.work.session !== known);
  if (!next || (next.revision <= lastRevision && !isForgotten)) return;
  lastRevision = next.revision;
  const before = stage.server;
  const changed = next.key !== before.key || next.placement?.serial !== before.placement?.serial;
  let images;
  try {
    images = await loadImages(next, before);
  } catch (error) {
    // The server is gone, or the preview has expired. The page stands as it was, and waits for nothing.
    if (next.revision !== lastRevision) return;
    answered = Math.max(answered, next.answered);
    stage.problem = error.message;
    showPanel();
    release();
    return;
  }
  if (next.revision !== lastRevision) return; // a newer answer came while the pictures were loading
  stage.server = next;
  Object.assign(stage.images, images);
  if (isForgotten) {
    sent = answered = next.answered;
    stage.history = new History();
  }
  answered = Math.max(answered, next.answered);
  stage.problem = next.problem;
  stage.way = next.way;
  if (["background", "object", "picture"].some((role) => next[role]?.identity !== before[role]?.identity)) {
    useLook(stage.restoring?.look ?? { strength: 1, moved: {} }); // of another scene, the look is another
  }
  work.saysProject = "";
  if (JSON.stringify(next.work.settings) !== JSON.stringify(before.work?.settings ?? {})) {
    work.settings = next.work.settings;
    tell("use-settings", work.settings);
  }
  work.replaced = replacedText(next, before);
  adoptPlacement(next, before);
  adoptLight(next);
  adoptMask(next, before);
  adoptView(next, before);
  showProposals();
  showPanel();
  redraw();
  announce();
  release();
  tellArrivals();
  if (pendingCount() === 0) stage.asked = ""; // what comes now was not asked for by a person
  watchSegmentation();
  if (isForgotten) bringBack();
  const begins = before.segmentation?.state === "unavailable" && next.segmentation?.state === "preparing";
  if (changed || begins) {
    askLive();
    askMap();
  }
}

// Where photos took the place of some that had a mask.
function replacedText(next, before) {
  if (!before.mask || stage.restoring || next.photos === before.photos) return "";
  if (stage.asked === "another") return "The picture with its object is the background now. Undo takes that back.";
  return next.way === before.way ? "Other photos took the place of yours. Undo brings yours back." : "";
}

async function loadImages(next, before) {
  const loaded = {};
  const load = async (name, now, then) => {
    if (!now) loaded[name] = null;
    else if (now.url !== then?.url) loaded[name] = await loadImage(now.url);
  };
  await Promise.all([
    ...["background", "object", "picture", "cutout"].map((name) => load(name, next[name], before[name])),
    load("maskPicture", next.mask, before.mask),
    load("lightPicture", next.light, before.light),
  ]);
  return loaded;
}

function adoptPlacement(next, before) {
  const box = next.cutout?.box;
  const sameObject = next.object && next.object.identity === before.object?.identity;
  if (stage.restoring) {
    stage.placement = stage.restoring.placement;
  } else if (next.placement && next.placement.serial !== before.placement?.serial) {
    const { serial, ...placement } = next.placement;
    stage.placement = checkedPlacement(placement);
  } else if (sameObject && box && before.cutout && next.background) {
    stage.placement = followBox(stage.placement, before.cutout.box, box, next.background);
  }
  stage.cutoutSize = box ? { width: box[2], height: box[3] } : null;
  if (next.key !== before.key) stage.live = null;
}

function adoptMask(next, before) {
  const photo = cuttable();
  const identity = (next.way === "ready" ? next.picture : next.object)?.identity ?? null;
  const samePhoto = identity === stage.maskedPhoto;
  stage.maskedPhoto = identity;
  // Also where the same photo was given once more: then its clicks belong to a mask that is gone.
  if (!samePhoto || (next.photos !== before.photos && !next.mask)) {
    const { points, box } = stage.restoring ?? work.resuming ?? { points: [], box: null };
    stage.points = points;
    stage.box = box;
    views.cut.reset();
  }
  const hasNewer = samePhoto && next.strokes < strokes; // painted on since the server answered
  const isOurs = samePhoto && next.mask?.painted && !stage.restoring; // the canvas shows it already
  if (!next.mask && !hasNewer) stage.mask.clear(photo?.width ?? 1, photo?.height ?? 1);
  else if (next.mask && next.mask.url !== before.mask?.url && !hasNewer && !isOurs) {
    stage.mask.show(stage.images.maskPicture, photo.width, photo.height);
  }
  if (!stage.restoring) stage.history.push(undoable(next));
  stage.restoring = null;
}

function adoptView(next, before) {
  if (next.background?.identity !== before.background?.identity || next.way !== before.way) views.place.reset();
  const { way } = next;
  const photo = way === "ready" ? next.picture : next.object;
  const complete = !next.missing;
  if (next.placement && next.placement.serial !== before.placement?.serial) stage.tool = "place";
  else if (photo && !complete && (stage.asked === "photo" || way !== before.way)) stage.tool = "point";
  else if (complete && lands(next, before)) stage.tool = "place";
  else if (way === "ready" && !complete && stage.tool === "place") stage.tool = "point";
  else if (!complete && marksLight()) stage.tool = "place";
  let view = stage.tool === "pan" ? stage.view : viewOf(stage.tool);
  if (view === "cut" && !cuttable()) view = stage.tool = "place";
  showView(view);
}

// Whether the object goes into its scene now: when what was missing has come by a click, a box or a file. What was painted,
// or is a segmenter's proposal, is looked at first.
function lands(next, before) {
  const wasComplete = before.missing === null && before.way === next.way;
  return !wasComplete && ["prompt", "photo"].includes(stage.asked);
}

// Tells the other components which composite this is now, so that they can mark results of another one.
function announce() {
  const { server, placement } = stage;
  const key = server.missing ? "" : server.key + (server.way === "pair" ? JSON.stringify(placement) : "");
  tell("scene", { key, missing: server.missing ?? "", placement, hasSam: Boolean(server.hasSam) });
  keepWork();
}

connectPanel();
connectInset();
connectLook();
connectLight();
connectResult();
connectFiles();
connectTransfers();
connectGestures();
connectKeyboard();
connectBackground();
connectGetting();
connectEmpty();
connectWork();
new ResizeObserver(fitCanvases).observe(marksCanvas);
watch("state", adopt);
hear("example", (index) => {
  request("example", { index }, "Loading the example");
  const { top, bottom } = find(".stage-board").getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) find(".stage-body").scrollIntoView();
});
hear("ask", async (answer) => {
  await arrived((text) => tell("waits", text));
  answer(stage.placement);
});
showPanel();
adopt();
ready();
