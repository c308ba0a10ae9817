// Makes two weak spots of Gradio's queue safe, where the page would wait for ever: a queue that is full refuses requests, and
// a stream of answers that the server closes drops the answer to a request that was made at that moment.

{
  const ask = window.fetch;
  const MOST = 200; // repetitions of a refused request, a second apart on average
  const note = document.createElement("div");
  note.className = "queue-note";
  note.setAttribute("role", "status");
  let refused = 0;
  const joining = new Set(); // requests on their way
  const unanswered = new Set(); // ids of requests that the server has accepted
  const early = new Set(); // ids of requests whose answer came before the word that they are accepted

  const show = (change) => {
    refused += change;
    note.textContent = refused ? "Many people are here. Waiting for a place in the queue…" : "";
    document.body.append(note);
  };

  // Repeats a refused request until there is a place, and says so.
  const join = async (input, init) => {
    let answer = await ask(input, init);
    if (answer.status === 503) {
      show(1);
      for (let tries = 0; answer.status === 503 && tries < MOST; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * Math.random()));
        answer = await ask(input, init);
      }
      show(-1);
    }
    if (answer.ok) {
      const { event_id: id } = await answer.clone().json();
      if (!early.delete(id)) unanswered.add(id);
    }
    return answer;
  };

  // The server closes the stream when nothing is left to answer. Gradio relies on an open stream until it reads that, so what
  // it has asked for meanwhile would get lost. Here the stream goes on until everything is answered.
  const listen = async (input, init) => {
    const first = await ask(input, init);
    if (!first.ok || !first.body) return first;
    const readerOf = (answer) => answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const encoder = new TextEncoder();
    let reader = readerOf(first);
    let rest = ""; // the beginning of a message
    let end = ""; // the message that closes the stream

    // The messages that have arrived whole, but for the one that closes the stream.
    const messages = (text) => {
      const parts = (rest + text).split("\n\n");
      rest = parts.pop();
      return parts.map((part) => `${part}\n\n`).filter((part) => {
        const { msg, event_id: id } = JSON.parse(part.slice(part.indexOf("{")));
        if (msg === "close_stream") end = part;
        else if (msg === "process_completed" && !unanswered.delete(id)) early.add(id);
        else if (!id && msg === "unexpected_error") unanswered.clear();
        return msg !== "close_stream";
      });
    };
    const pull = async (controller) => {
      for (;;) {
        const { done, value } = await reader.read();
        const whole = done ? [] : messages(value);
        for (const message of whole) controller.enqueue(encoder.encode(message));
        if (whole.length) return;
        if (!done) continue;
        while (end && joining.size) await Promise.allSettled(joining);
        if (!end || !unanswered.size) break;
        const next = await ask(input, init);
        if (!next.ok) throw new Error("The stream of answers can't be opened again.");
        reader = readerOf(next);
        end = "";
      }
      unanswered.clear();
      controller.enqueue(encoder.encode(rest + end));
      controller.close();
    };
    const cancel = (reason) => reader.cancel(reason);
    return new Response(new ReadableStream({ pull, cancel }), { headers: first.headers });
  };

  window.fetch = (input, init) => {
    const address = String(input.url ?? input);
    if (address.includes("/queue/data")) return listen(input, init);
    if (!address.includes("/queue/join")) return ask(input, init);
    const answer = join(input, init);
    joining.add(answer);
    const forget = () => joining.delete(answer);
    answer.then(forget, forget);
    return answer;
  };
}
