// What all islands of the page share. Every island is one function: these files, joined, with `element`, `props`,
// `trigger`, `upload` and `watch` from gr.HTML.

const find = (selector) => element.querySelector(selector);
const findAll = (selector) => [...element.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// Until its script runs, an island is inert, and looks it: nothing that is clicked is lost.
const ready = () => find("section").removeAttribute("inert");

// Decoded already, so that drawing it costs no frame.
async function loadImage(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error("A picture could not be loaded. Its file may have expired.");
  }
  return image;
}

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  return canvas;
}

// Preferences outlive a reload, where the browser lets them.
function recall(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(`srin.${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`srin.${name}`, JSON.stringify(value));
  } catch {
    // A private window: the preference lasts as long as the page.
  }
}

// Islands talk to each other through events of the window.
const tell = (name, detail) => window.dispatchEvent(new CustomEvent(`srin:${name}`, { detail }));
const hear = (name, act) => window.addEventListener(`srin:${name}`, (event) => act(event.detail));

// Calls act(true) as long as a button is held, by pointer or key, and then act(false).
function whileHeld(button, act) {
  for (const name of ["pointerdown", "keydown"]) {
    button.addEventListener(name, (event) => (!event.key || [" ", "Enter"].includes(event.key)) && act(true));
  }
  for (const name of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) {
    button.addEventListener(name, () => act(false));
  }
}

// What the server says of a file that it makes: how far it is, or, once, the file. newest: number of the last request.
function showSaved(note, saved, newest) {
  note.classList.toggle("error", Boolean(saved.problem));
  if (!saved.url || saved.request !== newest) {
    note.textContent = saved.problem ?? `${saved.text ?? ""}…`;
    return;
  }
  note.textContent = `${saved.name}, ${(saved.bytes / 1e6).toFixed(1)} MB`;
  const link = document.createElement("a");
  link.href = saved.url;
  link.download = saved.name;
  document.body.append(link);
  link.click();
  link.remove();
}
