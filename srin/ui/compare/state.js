// The state of the comparison.

import { changes, recall, remember, tell } from "../page/shared.js";

// Parts that can change: "picked", the method that is looked at closely; "view", how it is shown.
export const { whenChanged, changed } = changes();

export const compare = {
  run: null, // the server's view of the run, see compare.py
  picked: null, // the method looked at closely
  other: "", // what it is compared with: another method, or "", the pasted picture
  wanted: recall("picked", null), // the one that the visitor picked
  methods: new Set(),
  scene: { key: "", missing: "Add photos first.", hasSam: false },
  told: null, // the network that the Stage was last told to use for the live preview
  runs: 0, // number of the last run that was started
  cancelled: 0, // number of the last run that was cancelled
  starting: false,
  waits: "", // what a run waits for before it starts, as a sentence
  shownComposite: null, // URL of the composite that the zoom was set for
  holding: false, // whether the other picture is shown in place of the picked one
  goesToWhy: null, // called when a run that was started by "why" is done
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
