/* A dialog that shows one of several photos large. */

import { altOf, get, lookUp, nameOf, shortened } from "./common.js";

let photos = []; // what can be paged through: {src, id, label, ..., score}
let at = 0;

/* Open the dialog with one of the photos; their `src` is where the large image is. */
export function view(many, position) {
  photos = many;
  turn(position);
  for (const id of ["previous", "next"]) get(id).hidden = many.length < 2;
  get("viewer").showModal();
}

function turn(position) {
  at = (position + photos.length) % photos.length;
  const one = photos[at];
  const image = get("viewer-image");
  get("large").classList.remove("none");
  image.removeAttribute("src"); // the one before is not shown while this one loads
  image.onerror = () => get("large").classList.add("none");
  image.alt = altOf(one);
  image.src = one.src;
  get("viewer-name").textContent = nameOf(one) || one.id;
  get("viewer-scientific").textContent = one.scientific_name || "";
  const similar = one.score === undefined ? "" : ` · similarity ${one.score.toFixed(3)}`;
  get("viewer-id").textContent = (nameOf(one) ? shortened(one) : "") + similar;
  const link = nameOf(one) ? [lookUp(one, "Look it up on Wikipedia")] : [];
  get("viewer-look-up").replaceChildren(...link);
}

get("previous").addEventListener("click", () => turn(at - 1));
get("next").addEventListener("click", () => turn(at + 1));
get("close").addEventListener("click", () => get("viewer").close());
get("viewer").addEventListener("click", (event) => {
  if (event.target === get("viewer")) get("viewer").close(); // beside the content
});
get("viewer").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && photos.length > 1) turn(at + step);
});
