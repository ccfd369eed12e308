/* What several scripts of the pages share. */

export const get = (id) => document.getElementById(id);

/* The address that a link opens when it is clicked; nothing here fetches it. */
const WIKIPEDIA = "https://en.wikipedia.org/w/index.php?search=";

/* A species goes by its common name, and without one by its label. */
export const nameOf = (one) => one.common_name || one.label || "";

/* An id is a path as a rule, and its folder the label, which is shown beside it already. */
export const shortened = (one) =>
  one.label && one.id.startsWith(`${one.label}/`) ? one.id.slice(one.label.length + 1) : one.id;

/* What stands for the photo of a row where it cannot be seen. */
export const altOf = (one) => (nameOf(one) ? `photo of ${nameOf(one)}` : `photo ${one.id}`);

/* Return a link that looks a species up, by its scientific name if it has one. */
export function lookUp(one, text) {
  const name = one.scientific_name || nameOf(one).replaceAll("_", " ");
  const link = document.createElement("a");
  link.href = WIKIPEDIA + encodeURIComponent(name.toWellFormed?.() ?? name);
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.title = `Look up ${name} on Wikipedia`;
  link.textContent = text;
  return link;
}

/* The reason in an answer that is an error. */
export async function reason(response) {
  try {
    const detail = (await response.json()).detail;
    if (typeof detail === "string") return detail;
  } catch { /* no JSON: a proxy's answer */ }
  return `The server answered ${response.status} ${response.statusText}.`;
}

/* Fetch; without an answer, the error says whether the file or the server is the reason. */
export async function send(address, options = {}, file = null) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (file && !options.signal?.aborted && !(await readable(file))) {
      throw new Error(`${file.name} cannot be read. Is it a folder, or has it been moved or changed?`);
    }
    throw new Error(`The server does not answer (${error.message}). Is it still running?`);
  }
}

/* Reading a part of a file that is gone gives nothing, without an error, so all of it is read. */
const readable = (file) => file.arrayBuffer().then(() => true, () => false);

/* Text with `commands` in it, as nodes. */
export function marked(text) {
  return text.split("`").map((part, i) => {
    if (i % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
}
