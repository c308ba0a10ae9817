// The talk with the server. Every request has a number; the server answers them in that order and says in its state how
// many it has answered. So nothing overtakes anything, and it is known when everything has settled.

let sent = 0;
let answered = 0;
let uploads = 0; // before they are sent, files travel
const waiting = [];

const pendingCount = () => sent - answered + uploads;

// kind: see ACTIONS in stage.py. prepare: an asynchronous function whose result joins the data.
async function request(kind, data, doing, prepare) {
  if (kind !== "resume" && work.resuming) await settled(); // what is brought back comes first
  stage.doing = `${doing}…`;
  stage.asked = kind;
  stage.problem = "";
  if (!prepare) {
    send(kind, data);
    return;
  }
  uploads += 1;
  showPanel();
  try {
    send(kind, { ...data, ...(await prepare()) });
  } catch (error) {
    stage.problem = error.sentence || "The file could not be sent. Is the connection lost?";
  }
  uploads -= 1;
  showPanel();
  release();
}

function send(kind, data) {
  sent += 1;
  trigger("act", { ...data, kind, request: sent, strokes, session: stage.server.work?.session });
  showPanel();
}

// Resolves when the server has answered everything.
function settled() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    release();
  });
}

function release() {
  if (pendingCount() > 0 || !waiting.length) return;
  waiting.shift()();
  queueMicrotask(release); // the next, unless this one has sent something that the next has to wait for
}
