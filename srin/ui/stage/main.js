// The Stage: connects its parts and starts.

import { hear, tell } from "../page/shared.js";
import { adopt } from "./answers.js";
import { connectBackground } from "./background.js";
import { find, ready, watch } from "./component.js";
import { fitCanvases, marksCanvas } from "./draw.js";
import { connectEmpty } from "./empty.js";
import { connectFiles } from "./files.js";
import { connectGestures } from "./gestures.js";
import { connectGetting } from "./getting.js";
import { connectInset } from "./inset.js";
import { connectKeyboard } from "./keyboard.js";
import { connectLight } from "./light.js";
import { connectLook } from "./look.js";
import { connectPanel, showPanel } from "./panel.js";
import { request } from "./requests.js";
import { connectResult } from "./result.js";
import { stage } from "./state.js";
import { arrived, connectTransfers } from "./transfer.js";
import { connectWork } from "./work.js";

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
