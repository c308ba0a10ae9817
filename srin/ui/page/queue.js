// When the queue is full, the server refuses requests. The page repeats them until there is a place, and says so: after a lost
// request its component would wait for ever.

{
  const ask = window.fetch;
  const MOST = 200; // repetitions, a second apart on average
  const note = document.createElement("div");
  note.className = "queue-note";
  note.setAttribute("role", "status");
  let refused = 0;

  const show = (change) => {
    refused += change;
    note.textContent = refused ? "Many people are here. Waiting for a place in the queue…" : "";
    document.body.append(note);
  };

  window.fetch = async (input, init) => {
    let answer = await ask(input, init);
    if (answer.status !== 503 || !String(input).includes("/queue/join")) return answer;
    show(1);
    for (let tries = 0; answer.status === 503 && tries < MOST; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * Math.random()));
      answer = await ask(input, init);
    }
    show(-1);
    return answer;
  };
}
