// The pictures of a folder, small, with what was done to each.

import { thumbnail } from "./api.js";

const STATES = { untouched: "", painted: "painted", restored: "restored", kept: "kept" };

// Shows `pictures`, the one with a number as the present one, in a list; `open(number)` is called for what is clicked.
export function drawStrip(list, pictures, present, open) {
  pictures.forEach(({ name, state }, number) => {
    const item = list.children[number] ?? list.appendChild(entry(number, name, open));
    item.querySelector(".state").textContent = STATES[state] || "\u00a0";
    item.firstChild.toggleAttribute("aria-current", number === present);
    if (number === present) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

function entry(number, name, open) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { title: name });
  const picture = Object.assign(new Image(), { loading: "lazy", alt: "", src: thumbnail(number) });
  const [label, state] = [document.createElement("span"), document.createElement("span")];
  label.textContent = name;
  state.className = "state";
  button.append(picture, label, state);
  button.addEventListener("click", () => open(number));
  item.append(button);
  return item;
}
