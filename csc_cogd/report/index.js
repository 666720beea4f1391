"use strict";

const list = document.querySelector(".files");
const cards = [...list.children];
const order = document.querySelector(".order");
const search = document.querySelector(".filter");
const nameOf = (card) => card.querySelector("h3").textContent;

// What a card is sorted by: "name", or a number of its data-..., "-" for the greatest first; cards without it come last.
function compare(by) {
  if (by === "name") return (a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true });
  const [name, sign] = by.startsWith("-") ? [by.slice(1), -1] : [by, 1];
  const value = (card) => {
    const text = card.getAttribute(`data-${name.replace("_", "-")}`);
    return text === null ? Infinity : sign * Number(text);
  };
  return (a, b) => (value(a) === value(b) ? 0 : value(a) - value(b));
}

function sort() {
  list.append(...cards.sort(compare(order.value)));
}

function filter() {
  const state = document.querySelector("input[name=state]:checked").value;
  const wanted = search.value.toLowerCase();
  for (const card of cards) {
    card.hidden = (state && card.dataset.state !== state) || !nameOf(card).toLowerCase().includes(wanted);
  }
  document.querySelector(".nothing").hidden = cards.some((card) => !card.hidden);
}

order.addEventListener("change", sort);
search.addEventListener("input", filter);
document.querySelector("fieldset").addEventListener("change", filter);
sort(); // browsers keep what was chosen
filter();
