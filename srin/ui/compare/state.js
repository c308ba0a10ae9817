// What the comparison shows and works on.

import { changes, recall, remember, tell } from "../page/shared.js";

// Parts that change: "picked", the method that is looked at closely; "view", how it is shown.
export const { whenChanged, changed } = changes();

export const compare = {
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

export function pick(method) {
  if (!compare.run?.tiles.some((tile) => tile.method === method && tile.state === "done")) return;
  compare.picked = compare.wanted = method;
  remember("picked", method);
  tell("looked-at", method);
  changed("picked");
}
