// The examples below the Stage. As long as there are no photos, the Stage asks for them and shows them itself.

import { fillCards } from "./cards.js";
import { hear, tell } from "../page/shared.js";
import { find, findAll, props, ready, watch } from "./component.js";

function showExamples() {
  const { examples } = props;
  find(".gallery").hidden = !examples.length;
  const harmonized = examples.some((example) => example.after);
  find(".gallery-note").textContent = harmonized
    ? "One object, many scenes: pasted on the left, harmonized on the right. Pick one to try."
    : "One object, many scenes. Pick one to try.";
  fillCards(find(".gallery-cards"), examples);
  tell("examples", { examples, opening: props.opening });
}

hear("example", (picked) => {
  findAll(".example").forEach((card, index) => card.setAttribute("aria-pressed", String(index === picked)));
});
hear("wants-examples", () => tell("examples", { examples: props.examples, opening: props.opening }));
watch("examples", showExamples);
watch("opening", showExamples);
showExamples();
ready();
