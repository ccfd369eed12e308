"use strict";

const get = (id) => document.getElementById(id);
const UNKNOWN = "none of the known species";
const RETRIES = 3;
const PHOTOGRAPHS = 10; // two rows on a wide screen, five on a narrow one

let facts = null; // what /health says
let asking = null; // aborts the request under way

/* --- choosing: the file dialog, drag and drop anywhere, paste --- */

get("file").addEventListener("change", () => {
  const file = get("file").files[0];
  if (file) look(file);
  get("file").value = ""; // the same file may be chosen again
});

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
  if (file) look(file);
  else fail("What was dropped is no file. Save the picture first, then drop the file.");
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData && event.clipboardData.files[0];
  if (file) look(file);
});

/* --- asking --- */

async function look(file) {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  clear();
  if (facts && file.size > facts.max_bytes) {
    return fail(`${file.name} has ${megabytes(file.size)}; the limit is ${megabytes(facts.max_bytes)}.`);
  }
  say(`Looking at ${file.name} …`, true);
  try {
    const answer = await ask(file, mine.signal);
    if (mine === asking) show(file, answer);
  } catch (error) {
    if (mine === asking) fail(error.message);
  }
}

async function ask(file, signal) {
  const form = new FormData();
  form.append("file", file);
  for (let tried = 0; ; tried++) {
    let response;
    try {
      response = await fetch(`look?n=${PHOTOGRAPHS}`, { method: "POST", body: form, signal });
    } catch (error) {
      throw new Error(`The server does not answer (${error.message}). Is it still running?`);
    }
    if (response.ok) return response.json();
    if (response.status === 503 && tried < RETRIES) {
      const seconds = Math.min(Number(response.headers.get("retry-after")) || 1, 30);
      say(`The server is busy; trying again in ${seconds} s …`, true);
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      if (signal.aborted) throw new Error("given up");
      continue;
    }
    throw new Error(await reason(response));
  }
}

async function reason(response) {
  try {
    const detail = (await response.json()).detail;
    if (typeof detail === "string") return detail;
  } catch { /* no JSON: a proxy's answer */ }
  return `The server answered ${response.status} ${response.statusText}.`;
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
  get("invite").firstElementChild.textContent = "Choose another photograph";
  const preview = get("preview");
  preview.hidden = false;
  preview.onerror = () => { preview.hidden = true; }; // a format that browsers do not show
  preview.src = URL.createObjectURL(file);
  preview.alt = `your photograph, ${file.name}`;
  get("name").textContent = file.name;
  showSpecies(answer.identified);
  showPhotographs(answer.photographs);
  get("results").hidden = false;
  say(summary(answer));
  document.body.classList.add("done");
  get("verdict").focus({ preventScroll: true });
}

function summary(answer) {
  const parts = [];
  if (answer.identified) parts.push(verdict(answer.identified));
  if (answer.photographs) parts.push(`${answer.photographs.length} nearest photographs`);
  return parts.length ? `Done: ${parts.join(", ")}.` : "Done.";
}

function showSpecies(found) {
  get("no-gallery").hidden = Boolean(found);
  get("species").replaceChildren();
  get("asked").classList.toggle("unknown", !found || !found.known);
  get("over").textContent = !found ? "" : found.known ? "most likely" : "this seems to be";
  get("verdict").textContent = !found ? "No species to compare with" : verdict(found);
  get("scientific").textContent = (found && found.known && found.results[0].scientific_name) || "";
  get("explained").textContent = !found ? "" : explained(found);
  for (const one of found ? found.results : []) {
    const item = get("bar").content.cloneNode(true);
    item.querySelector(".label").textContent = one.common_name || one.label;
    item.querySelector(".scientific").textContent = one.scientific_name || "";
    item.querySelector(".score").textContent = one.score.toFixed(3);
    item.querySelector(".fill").style.width = percent(one.score);
    item.querySelector(".mark").style.left = percent(found.threshold);
    item.querySelector("li").classList.toggle("known", one.score >= found.threshold);
    get("species").append(item);
  }
}

/* The best result is the species; without names of its own it is called by its label. */
const verdict = (found) => (found.known ? found.results[0].common_name || found.species : UNKNOWN);

function explained(found) {
  const needed = found.threshold.toFixed(3);
  return found.known
    ? `Similarity ${found.score.toFixed(3)}; ${needed} is needed to be called known (the mark on the bars).`
    : `The nearest, below, reach ${found.score.toFixed(3)} at most; ${needed} is needed to be called known (the mark on the bars).`;
}

function showPhotographs(found) {
  get("no-index").hidden = Boolean(found);
  get("photographs").replaceChildren();
  for (const one of found || []) {
    const item = get("card").content.cloneNode(true);
    const image = item.querySelector("img");
    image.onerror = () => image.parentElement.classList.add("none");
    image.src = one.thumbnail;
    const name = one.common_name || one.label;
    image.alt = name ? `photograph of ${name}` : `photograph ${one.id}`;
    item.querySelector(".label").textContent = name || "";
    item.querySelector(".id").textContent = shortened(one);
    item.querySelector("li").title = one.id;
    item.querySelector(".score").textContent = one.score.toFixed(3);
    get("photographs").append(item);
  }
}

/* An id is a path as a rule, and its folder the label, which is above it already. */
const shortened = (one) =>
  one.label && one.id.startsWith(`${one.label}/`) ? one.id.slice(one.label.length + 1) : one.id;
const percent = (score) => `${100 * Math.min(Math.max(score, 0), 1)}%`;
const megabytes = (bytes) => `${Number((bytes / 1e6).toFixed(1))} MB`;

/* --- what runs here --- */

async function start() {
  for (const place of document.querySelectorAll(".here")) {
    place.textContent = new URL(".", location.href).href;
  }
  try {
    facts = await (await fetch("health")).json();
  } catch {
    return fail("The server does not answer. Is it still running?");
  }
  get("most").textContent = megabytes(facts.max_bytes);
  const parts = [facts.model];
  if (facts.species !== null) parts.push(`${facts.species.toLocaleString()} species`);
  if (facts.photographs !== null) parts.push(`${facts.photographs.toLocaleString()} photographs`);
  get("facts").textContent = parts.join(" · ");
  for (const [id, text] of [["no-gallery", facts.no_gallery], ["no-index", facts.no_index]]) {
    if (!text) continue;
    get(id).replaceChildren(...marked(text));
    const note = get(id).cloneNode(true);
    note.removeAttribute("id");
    note.hidden = false;
    get("missing").append(note);
  }
}

/* Text with `commands` in it, and a capital at its beginning. */
function marked(text) {
  return (text[0].toUpperCase() + text.slice(1)).split("`").map((part, i) => {
    if (i % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}
start();
