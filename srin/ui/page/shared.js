// What all components of the page share.

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * One of the page's components: its element, its properties, and how it talks to the server. A component is inert, and looks
 * so, until its script calls `ready`: no click is lost.
 * @param {string} name
 * @returns {{ element: HTMLElement, props: Record<string, any>, trigger: (event: string, data?: object) => void,
 *   watch: (prop: string, act: () => void) => void, find: (selector: string) => any,
 *   findAll: (selector: string) => any[], ready: () => void }}
 */
export function componentOf(name) {
  const { element, props, trigger, watch } = window.srin[name];
  return {
    element,
    props,
    trigger,
    watch,
    find: (selector) => element.querySelector(selector),
    findAll: (selector) => [...element.querySelectorAll(selector)],
    ready: () => element.querySelector("section").removeAttribute("inert"),
  };
}

// Resolves with a decoded image, so that drawing it delays no frame.
export async function loadImage(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error("A picture could not be loaded. Its file may have expired.");
  }
  return image;
}

// Resolves with images, or with null if they aren't wanted any more or one can't be loaded. Then `say` gets a sentence, and
// nothing is thrown: the page works on when a connection is lost.
export async function loadAll(urls, isWanted, say) {
  try {
    const images = await Promise.all(urls.map(loadImage));
    return isWanted() ? images : null;
  } catch (error) {
    if (isWanted()) say(error.message);
    return null;
  }
}

export function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width));
  canvas.height = Math.max(1, Math.round(height));
  return canvas;
}

// Preferences are kept across reloads, if the browser allows it.
export function recall(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(`srin.${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`srin.${name}`, JSON.stringify(value));
  } catch {
    // In a private window nothing is kept.
  }
}

// Makes the browser download a file of the server's.
export function takeAway(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

// Components talk to each other through events of the window.
export const tell = (name, detail) => window.dispatchEvent(new CustomEvent(`srin:${name}`, { detail }));
export const hear = (name, act) => window.addEventListener(`srin:${name}`, (/** @type {any} */ event) => act(event.detail));

// Calls act(true) as long as a button is held, by pointer or key, and then act(false).
export function whileHeld(button, act) {
  for (const name of ["pointerdown", "keydown"]) {
    button.addEventListener(name, (event) => (!event.key || [" ", "Enter"].includes(event.key)) && act(true));
  }
  for (const name of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) {
    button.addEventListener(name, () => act(false));
  }
}

let downloads = 0; // number of the last one, counted over all components: the server tells downloads apart by it

// A file that the server makes and the browser then downloads. note: the element that says how far it is. bar: the element with
// a progress bar and a Cancel button, shown meanwhile. changed: called when it begins, and when it has ended.
export class Download {
  constructor(trigger, note, bar, changed) {
    this.trigger = trigger;
    this.note = note;
    this.bar = bar;
    this.changed = changed;
    this.busy = false;
    this.number = 0;
    bar.querySelector("button").addEventListener("click", () => this.cancel());
  }

  // gather: returns what to make, or a promise of it; it gets a function to say what is waited for.
  // receive: called with the file, { url, name, bytes }.
  async begin(gather, receive = ({ url, name }) => takeAway(url, name)) {
    downloads += 1;
    const number = downloads;
    this.number = number;
    this.receive = receive;
    this.say("Starting…", 0, true);
    const data = await gather((text) => number === this.number && this.say(text, 0, true));
    if (number === this.number) this.trigger("save", { ...data, request: number }); // otherwise it was cancelled meanwhile
  }

  cancel() {
    this.trigger("cancel", { save: this.number });
    this.number = 0; // what the server still says of it is ignored
    this.say("Cancelled.", 0, false);
  }

  adopt(saved) {
    if (!saved || saved.request !== this.number) return;
    this.note.classList.toggle("error", Boolean(saved.problem));
    if (saved.text) {
      this.say(`${saved.text}…${timeLeft(saved.left)}`, saved.share, true);
      return;
    }
    this.number = 0;
    this.say(saved.problem ?? `${saved.name}, ${(saved.bytes / 1e6).toFixed(1)} MB`, 0, false);
    if (saved.url) this.receive(saved);
  }

  say(text, share, busy) {
    this.note.textContent = text;
    this.bar.querySelector("progress").value = share;
    this.bar.hidden = !busy;
    if (busy !== this.busy) {
      this.busy = busy;
      this.changed();
    }
  }
}

export function timeLeft(seconds) {
  if (seconds == null) return "";
  return seconds < 90 ? ` about ${Math.max(1, Math.round(seconds))} s left` : ` about ${Math.round(seconds / 60)} minutes left`;
}

/**
 * Listeners within a component: whoever shows a part of its state is called when that part has changed. So modules that change
 * the state need not import those that show it.
 * @returns {{ whenChanged: (part: string, act: () => void) => void, changed: (part: string) => void }}
 */
export function changes() {
  /** @type {Record<string, (() => void)[]>} */
  const acts = {};
  return {
    whenChanged: (part, act) => (acts[part] ??= []).push(act),
    changed(part) {
      for (const act of acts[part] ?? []) act();
    },
  };
}
