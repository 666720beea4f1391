// The pictures of a folder, small, with what was done to each.

import { thumbnail } from "./api.js";

// Shows `pictures`, the one with a number as the present one, in a list; `open(number)` is called for what is clicked.
export function drawStrip(list, pictures, present, open) {
	pictures.forEach(({ name, state }, number) => {
		const item = list.children[number] ?? list.appendChild(entry(number, name, open));
		item.querySelector(".state").textContent = state === "untouched" ? "\u00a0" : state;
		item.firstChild.toggleAttribute("aria-current", number === present);
		if (number === present) item.scrollIntoView({ block: "nearest", inline: "nearest" });
	});
}

function entry(number, name, open) {
	const item = document.createElement("li");
	item.innerHTML = `<button><img loading="lazy" alt="" src="${thumbnail(number)}"><span></span><span class="state"></span></button>`;
	item.firstChild.title = item.querySelector("span").textContent = name;
	item.firstChild.addEventListener("click", () => open(number));
	return item;
}
