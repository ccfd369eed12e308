/* The page: a photo goes to the server, and its species and the most similar photos are shown. */

import { altOf, get, lookUp, marked, nameOf, reason, send, shortened } from "./common.js";
import { view } from "./viewer.js";

const UNKNOWN = "none of the known species";
const RETRIES = 3;
const PHOTOS = 10; // two rows on a wide screen, five on a narrow one
const TRIES = 5; // photos of the index that are tried as an example

let facts = null; // what /health says, or null if it did not answer
let asking = null; // aborts the request under way

/* --- choosing: the file dialog, the camera, drag and drop anywhere, paste, an example --- */

for (const id of ["file", "camera"]) {
  get(id).addEventListener("change", () => {
    const file = get(id).files[0];
    if (file) look(file);
    get(id).value = ""; // the same file may be chosen again
  });
}

get("form").addEventListener("submit", (event) => event.preventDefault());

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  get("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) get("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  get("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (event.dataTransfer.items[0]?.webkitGetAsEntry?.()?.isDirectory) {
    fail(`${file ? file.name : "That"} is a folder. Drop one photo of it here.`);
  } else if (file) look(file);
  else fail("That was not a file. Save the photo first, then drop the file here.");
});
document.addEventListener("paste", (event) => {
  if (!event.clipboardData) return;
  const file = event.clipboardData.files[0];
  if (file) look(file);
  else fail("There is no photo in the clipboard. Copy the photo itself, not its address or its text.");
});
get("example").addEventListener("click", () => look(null));

/* --- asking --- */

/* Look at a file; without one, at a photo of the index. */
async function look(file) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  clear();
  if (!facts) await learn().catch(() => null); // what follows does without
  if (mine !== asking) return;
  if (file && facts && file.size > facts.max_bytes) {
    const most = megabytes(facts.max_bytes);
    return fail(`${file.name} has ${megabytes(file.size)}, and the limit is ${most}.`);
  }
  say(file ? `Looking at ${file.name} …` : "Looking at an example …", true);
  try {
    const [sent, place] = file ? [file, ""] : await example(mine.signal);
    const answer = await ask(sent, place, mine.signal);
    if (mine === asking) show(sent, answer);
  } catch (error) {
    if (mine === asking) fail(error.message);
  }
}

/* Return a photo of the index, as a file, and the parameters that say which one it is. */
async function example(signal) {
  let why = "";
  for (let tried = 0; tried < TRIES; tried++) {
    const row = Math.floor(Math.random() * facts.photographs);
    const response = await send(`photo/${row}`, { signal });
    if (response.ok) {
      // With its mark, so that an index that has just changed gives no other photo's species.
      const [, of] = (response.headers.get("content-location") || "").split("?");
      const place = `&example=${row}` + (of ? `&${of}` : "");
      return [new File([await response.blob()], `example ${row}.jpg`), place];
    }
    why = await reason(response);
  }
  throw new Error(`No photo of the index could be opened as an example: ${why}`);
}

async function ask(file, place, signal) {
  const form = new FormData();
  form.append("file", file);
  const address = `look?n=${PHOTOS}${place}`;
  for (let tried = 0; ; tried++) {
    const response = await send(address, { method: "POST", body: form, signal }, file);
    if (response.ok) return response.json();
    const wait = response.headers.get("retry-after"); // without it, waiting does not help
    if (response.status === 503 && wait && tried < RETRIES) {
      const seconds = Math.min(Number(wait) || 1, 30);
      say(`The server is busy; trying again in ${seconds} s …`, true);
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      if (signal.aborted) throw new Error("given up");
      continue;
    }
    throw new Error(await reason(response));
  }
}

/* --- showing --- */

function clear() {
  get("error").hidden = true;
  get("results").hidden = true;
  const preview = get("preview");
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
}

function say(text, busy = false) {
  document.body.classList.toggle("busy", busy);
  document.body.classList.remove("done");
  get("status").textContent = text;
}

function fail(text) {
  say("");
  get("error").textContent = text;
  get("error").hidden = false;
}

function show(file, answer) {
  get("missing").hidden = true; // the results say it in its place
  document.body.classList.add("chosen");
  get("invite").firstElementChild.textContent = "Choose another photo";
  get("example").textContent = answer.example ? "Try another example" : "Try an example";
  const preview = get("preview");
  get("open").hidden = false;
  preview.onerror = () => { get("open").hidden = true; }; // a format that browsers do not show
  preview.src = URL.createObjectURL(file);
  get("name").textContent = answer.example ? shortened(answer.example) : file.name;
  preview.alt = `${answer.example ? "example" : "your photo"}, ${get("name").textContent}`;
  get("open").onclick = () => view([{ src: preview.src, id: get("name").textContent }], 0);
  showTruth(answer);
  showSpecies(answer.identified);
  showPhotos(answer);
  get("results").hidden = false;
  say(summary(answer));
  document.body.classList.add("done");
  get("verdict").focus({ preventScroll: true });
}

function summary(answer) {
  const parts = [];
  if (answer.identified) parts.push(verdict(answer.identified));
  if (answer.photographs) {
    parts.push(`${answer.photographs.length} similar photos`);
    if (answer.close === false) parts.push("nothing close");
  }
  return parts.length ? `Done: ${parts.join(", ")}.` : "Done.";
}

/* The true species is only known for examples. */
function showTruth({ example: one, identified: found }) {
  get("truth").replaceChildren();
  if (!one || !one.label) return;
  get("truth").append(`is labelled ${nameOf(one)}`);
  if (!found || !found.known) return;
  const mark = document.createElement("b");
  mark.className = mark.textContent = found.species === one.label ? "right" : "wrong";
  get("truth").append(": ", mark);
}

function showSpecies(found) {
  const known = Boolean(found && found.known);
  get("no-gallery").hidden = Boolean(found);
  get("species").replaceChildren();
  get("asked").classList.toggle("unknown", !known);
  get("over").textContent = !found ? "" : known ? "most likely" : "this seems to be";
  get("verdict").textContent = !found ? "No species to compare with" : verdict(found);
  get("scientific").textContent = (known && found.results[0].scientific_name) || "";
  get("look-up").hidden = !known;
  if (known) get("look-up").replaceChildren(lookUp(found.results[0], "Look it up on Wikipedia"));
  get("explained").textContent = !found ? "" : explained(found);
  for (const one of found ? found.results : []) {
    const item = get("bar").content.cloneNode(true);
    item.querySelector(".label").append(lookUp(one, nameOf(one)));
    item.querySelector(".scientific").textContent = one.scientific_name || "";
    item.querySelector(".score").textContent = one.score.toFixed(3);
    item.querySelector(".fill").style.width = percent(one.score);
    item.querySelector(".mark").style.left = percent(found.threshold);
    item.querySelector("li").classList.toggle("known", one.score >= found.threshold);
    get("species").append(item);
  }
}

/* The best result is the species. */
const verdict = (found) => (found.known ? nameOf(found.results[0]) : UNKNOWN);

function explained(found) {
  const needed = `A known species needs ${found.threshold.toFixed(3)}, the mark on the bars.`;
  return found.known
    ? `Similarity ${found.score.toFixed(3)}${likely(found.probability)}. ${needed}`
    : `The most similar species below only reaches ${found.score.toFixed(3)}. ${needed}`;
}

/* Never shows 1.00, because nothing is certain. */
function likely(probability) {
  if (probability === null) return "";
  const most = probability >= 0.995;
  return `, probability ${most ? "above 0.99" : probability.toFixed(2)}`;
}

function showPhotos({ photographs: found, close }) {
  get("no-index").hidden = Boolean(found);
  // `close` is null for a model without threshold; without any photo there is nothing close either.
  const nothingClose = Boolean(found) && (close === false || !found.length);
  get("far").hidden = !nothingClose;
  get("far").lastElementChild.textContent = nothingClose ? far(found) : "";
  get("photographs").replaceChildren();
  const large = (found || []).map((one) => ({ ...one, src: one.photo }));
  large.forEach((one, position) => {
    const item = get("card").content.cloneNode(true);
    const [button, image] = [item.querySelector("button"), item.querySelector("img")];
    image.onerror = () => { button.classList.add("none"); button.disabled = true; };
    image.src = one.thumbnail;
    image.alt = altOf(one);
    button.title = "Show large";
    button.addEventListener("click", () => view(large, position));
    item.querySelector(".label").textContent = nameOf(one);
    item.querySelector(".id").textContent = shortened(one);
    item.querySelector("li").title = one.id;
    item.querySelector(".score").textContent = one.score.toFixed(3);
    get("photographs").append(item);
  });
}

function far(found) {
  if (!found.length) return "the index has no other photos.";
  const needed = facts ? facts.threshold.toFixed(3) : "more";
  return `the best of these reaches ${found[0].score.toFixed(3)}, but this model needs ${needed} for a known species.`;
}

const percent = (score) => `${100 * Math.min(Math.max(score, 0), 1)}%`;
const megabytes = (bytes) => `${Number((bytes / 1e6).toFixed(1))} MB`;

/* --- what runs here --- */

async function start() {
  for (const place of document.querySelectorAll(".here")) {
    place.textContent = new URL(".", location.href).href;
  }
  await learn().catch((error) => fail(error.message));
}

/* Ask what the server has, and show it. */
async function learn() {
  const response = await send("health");
  if (!response.ok) throw new Error(await reason(response));
  facts = await response.json();
  get("most").textContent = megabytes(facts.max_bytes);
  const parts = [facts.model];
  if (facts.species !== null) parts.push(`${facts.species.toLocaleString()} species`);
  if (facts.photographs !== null) parts.push(`${facts.photographs.toLocaleString()} photos`);
  get("facts").textContent = parts.join(" · ");
  get("example").hidden = !facts.viewable;
  get("missing").replaceChildren();
  for (const [id, text] of [["no-gallery", facts.no_gallery], ["no-index", facts.no_index]]) {
    if (!text) continue;
    get(id).replaceChildren(...marked(text[0].toUpperCase() + text.slice(1)));
    const note = get(id).cloneNode(true);
    note.removeAttribute("id");
    note.hidden = false;
    get("missing").append(note);
  }
}

start();
