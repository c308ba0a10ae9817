// Keeps work in the browser (IndexedDB). Each tab has one entry: a small record, and the files that it refers to, named
// "TAB FILE".

export const KEPT_DAYS = 7;
const MOST_ENTRIES = 3;
const STORES = ["records", "files"];

let database = null;

// Rejects if the browser stores nothing for this page.
export async function openStorage() {
  database = await new Promise((resolve, reject) => {
    const opening = indexedDB.open("srin", 1);
    opening.onupgradeneeded = () => STORES.forEach((name) => opening.result.createObjectStore(name));
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  database.onversionchange = () => database.close();
  const oldest = Date.now() - KEPT_DAYS * 24 * 3600 * 1000;
  const entries = await listEntries();
  await dropEntries(entries.filter(({ saved }, index) => saved < oldest || index >= MOST_ENTRIES).map(({ tab }) => tab));
}

// Runs a transaction. act: makes requests to the two stores, and returns the one whose result is wanted, if any.
function inStorage(mode, act) {
  return new Promise((resolve, reject) => {
    const going = database.transaction(STORES, mode);
    const wanted = act(going.objectStore("records"), going.objectStore("files"));
    going.oncomplete = () => resolve(wanted?.result);
    going.onabort = () => reject(going.error);
  });
}

const filesOf = (tab) => IDBKeyRange.bound(`${tab} `, `${tab} \uffff`);

// Resolves with the records, the newest first.
export async function listEntries() {
  const records = await inStorage("readonly", (store) => store.getAll());
  return records.sort((a, b) => b.saved - a.saved);
}

function dropEntries(tabs) {
  return inStorage("readwrite", (records, files) => {
    for (const tab of tabs) {
      records.delete(tab);
      files.delete(filesOf(tab));
    }
  });
}

export const clearStorage = () => inStorage("readwrite", (records, files) => [records, files].forEach((store) => store.clear()));

// blobs: the new files, by name; the record's other files are stored already.
export function writeEntry(record, blobs) {
  return inStorage("readwrite", (records, files) => {
    records.put(record, record.tab);
    for (const [name, blob] of Object.entries(blobs)) files.put(blob, `${record.tab} ${name}`);
  });
}

export async function readFile(tab, name) {
  const blob = await inStorage("readonly", (_, files) => files.get(`${tab} ${name}`));
  if (!blob) throw new Error(`${name} is not kept any more.`);
  return blob;
}
