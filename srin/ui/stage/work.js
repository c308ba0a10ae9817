// Keeps a visitor's work in the browser, and restores it after a reload, the back button, a lost connection or a restart of
// the server. Another tab offers it.

import { hear, takeAway, tell } from "../page/shared.js";
import { find, findAll, props, trigger, watch } from "./component.js";
import { History } from "./history.js";
import { START } from "./placement.js";
import { request, settled } from "./requests.js";
import { changed, stage } from "./state.js";
import { KEPT_DAYS, clearStorage, listEntries, openStorage, readFile, writeEntry } from "./storage.js";
import { arrived, sendAloud } from "./transfer.js";

export const work = {
  tab: null, // the name of this tab's entry; null where nothing can be kept
  given: new Map(), // files that the visitor chose, by their address on the server
  stored: {}, // addresses of the files that the entry has, by name
  saving: null, // the promise of a save that is going on
  again: false,
  offered: null, // the record of another tab
  notice: "",
  replaced: "", // a sentence, if the last answer brought other photos
  settings: null, // { strength, feather, offsets } of the result, as far as they were set
  picked: null, // the method that is looked at closely
  saysProject: "",
};

export const workFile = (path) => `gradio_api/file=${path}`;
const hasPhotos = (files) => ["background", "object", "picture"].some((role) => files?.[role]);

export function keepFile(path, file) {
  if (work.tab) work.given.set(workFile(path), file);
}

// --- saving

// Call this whenever anything has changed.
export function keepWork() {
  if (!work.tab || stage.resuming || !hasPhotos(stage.server.work?.files)) return;
  work.offered = null;
  if (work.saving) {
    work.again = true;
    return;
  }
  work.saving = saveAll().finally(() => {
    work.saving = null;
    showWork();
  });
  showWork();
}

async function saveAll() {
  do {
    work.again = false;
    const { files, truth } = stage.server.work;
    const { way, placement, points, box } = stage;
    const record = { tab: work.tab, saved: Date.now(), files, truth, way, placement, points, box, settings: work.settings };
    try {
      const blobs = await fetchFiles(files);
      if (!work.tab) return; // the visitor forgot the work meanwhile
      await writeEntry(JSON.parse(JSON.stringify(record)), blobs); // a copy: the browser can't store objects that Gradio observes
    } catch (error) {
      if (error instanceof TypeError) return; // the connection is lost: this change is saved with the next one
      refuseWork(error);
      return;
    }
    work.stored = Object.fromEntries(Object.entries(files).map(([name, { url }]) => [name, url]));
    work.given.clear();
  } while (work.again);
}

async function fetchFiles(files) {
  const blobs = {};
  for (const [name, { url }] of Object.entries(files)) {
    if (work.stored[name] === url) continue;
    const given = work.given.get(url);
    if (given) {
      blobs[name] = given;
    } else {
      const answer = await fetch(url);
      if (!answer.ok) throw new TypeError(`${name} can't be fetched`);
      blobs[name] = await answer.blob();
    }
  }
  return blobs;
}

function refuseWork(error) {
  const isFull = error?.name === "QuotaExceededError";
  work.tab = null;
  work.given.clear();
  work.notice = isFull
    ? "This browser has no room to keep your work. A reload will lose what is new."
    : "This browser keeps nothing for this page. A reload will lose your work.";
  showWork();
}

// --- bringing back

async function beginWork() {
  let tab, records;
  try {
    tab = sessionStorage.getItem("srin.tab");
    await openStorage();
    records = await listEntries();
    work.tab = tab ?? Math.random().toString(36).slice(2);
    sessionStorage.setItem("srin.tab", work.tab);
  } catch (error) {
    refuseWork(error);
    return;
  }
  const own = records.find((record) => record.tab === work.tab);
  if (own) await resumeWork(own);
  else work.offered = records[0] ?? null;
  showWork();
}

// record: of this tab, or of another tab whose work goes on here.
async function resumeWork(record) {
  if (stage.resuming) return;
  work.offered = null;
  stage.resuming = record;
  work.stored = {};
  const { way, placement, truth } = record;
  const blobs = [];
  await request("resume", { way, placement, truth }, "Bringing your work back", async () => {
    const files = {};
    for (const [name, about] of Object.entries(record.files)) {
      const blob = await readFile(record.tab, name);
      const path = await sendAloud(new File([blob], about.name ?? "mask.png", { type: blob.type }));
      blobs.push([path, blob]);
      files[name] = { ...about, path };
    }
    return { files };
  });
  await settled();
  stage.resuming = null;
  for (const [path, blob] of blobs) keepFile(path, blob);
  work.settings = record.settings;
  if (record.settings) tell("use-settings", record.settings);
  keepWork();
}

// Called when the server has forgotten this page: it was restarted, or dropped the unused session.
export async function bringBack() {
  const records = work.tab ? await listEntries() : [];
  const own = records.find((record) => record.tab === work.tab);
  if (own) await resumeWork(own);
  stage.problem = own
    ? "The server had forgotten your work, and it was brought back from this browser. Please repeat the last step."
    : "The server has forgotten your work: nobody used it for too long.";
  changed("panel");
}

async function forgetWork() {
  const kept = work.tab;
  work.tab = null; // nothing is saved meanwhile
  await work.saving;
  if (kept) await clearStorage();
  work.tab = kept;
  work.stored = {};
  work.given.clear();
  work.offered = null;
  stage.placement = { ...START };
  request("forget", {}, "Forgetting");
  await settled();
  stage.history = new History();
  tell("forgotten");
  changed("panel");
}

// --- projects

let projectRequests = 0;

async function saveProject() {
  await arrived((text) => {
    work.saysProject = text;
    showWork();
  });
  projectRequests += 1;
  work.saysProject = "Download the project…";
  showWork();
  trigger("project", { request: projectRequests, placement: stage.placement, settings: { ...work.settings, method: work.picked } });
}

function adoptProject() {
  const { project } = props;
  if (project?.request !== projectRequests) return;
  work.saysProject = project.problem ?? `Saved: ${project.name}, ${(project.bytes / 1e6).toFixed(1)} MB, without the places of the photos.`;
  if (project.url) takeAway(project.url, project.name);
  showWork();
}

export function openProject(file) {
  return request("open", {}, "Opening the project", async () => {
    return { path: await sendAloud(file) };
  });
}

// --- the line that says what is kept

/** @type {Intl.DateTimeFormatOptions} */
const DAY = { weekday: "long", hour: "2-digit", minute: "2-digit", hour12: false };

function showWork() {
  const bar = find(".stage-work");
  const asks = bar.classList.contains("asking");
  const has = hasPhotos(stage.server.work?.files);
  const isKept = Boolean(work.tab && has);
  bar.classList.toggle("offers", Boolean(work.offered));
  bar.dataset.state = work.saving || stage.resuming ? "saving" : isKept ? "kept" : "";
  let said = work.notice;
  if (work.replaced) said = `${work.replaced} ${work.notice}`;
  if (work.offered) said = `Your work of ${new Date(work.offered.saved).toLocaleString("en", DAY)} is kept in this browser.`;
  else if (isKept && !work.replaced) said = `Your work is kept in this browser for ${KEPT_DAYS} days.`;
  if (work.saysProject) said = work.saysProject;
  find('[data-work="save"]').hidden = asks || !has;
  find('[data-work="open"]').hidden = asks;
  find(".stage-work-said").textContent = asks ? "Photos, mask and placement will be gone. Forget them?" : said;
  find('[data-work="resume"]').hidden = asks || !work.offered;
  find('[data-work="forget"]').hidden = asks || !(has || work.offered);
  for (const name of ["really", "keep"]) find(`[data-work="${name}"]`).hidden = !asks;
}

const WORK_ACTS = {
  resume: () => resumeWork(work.offered),
  save: saveProject,
  forget: () => askToForget(true),
  keep: () => askToForget(false),
  really: () => {
    askToForget(false);
    forgetWork();
  },
};

function askToForget(asks) {
  find(".stage-work").classList.toggle("asking", asks);
  showWork();
  find(`[data-work="${asks ? "keep" : "forget"}"]`).focus();
}

export function connectWork() {
  for (const button of findAll("button[data-work]")) {
    button.addEventListener("click", () => WORK_ACTS[button.dataset.work]());
  }
  const input = find('[data-work="open"] input');
  input.addEventListener("change", () => {
    if (input.files.length) openProject(input.files[0]);
    input.value = "";
  });
  watch("project", adoptProject);
  hear("looked-at", (method) => (work.picked = method));
  hear("settings", (settings) => {
    work.settings = { ...work.settings, ...settings };
    keepWork();
  });
  work.begun = beginWork();
}
