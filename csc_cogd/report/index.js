"use strict";

const table = document.querySelector("table.index");
const body = table.tBodies[0];
const headers = [...table.tHead.rows[0].cells];

// A cell is sorted by its data-value, a number, or else by its text; empty ones come last.
const key = (row, column) => {
  const cell = row.cells[column];
  return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
};

const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));

headers.forEach((header, column) => {
  header.querySelector("button").addEventListener("click", () => {
    const descending = header.ariaSort === "ascending";
    for (const other of headers) other.ariaSort = "none";
    header.ariaSort = descending ? "descending" : "ascending";
    const keyed = [...body.rows].map((row) => [key(row, column), row]);
    const filled = keyed.filter(([value]) => value !== "");
    const empty = keyed.filter(([value]) => value === "");
    filled.sort(([a], [b]) => (descending ? compare(b, a) : compare(a, b)));
    body.append(...[...filled, ...empty].map(([, row]) => row));
  });
});

document.querySelector(".filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
});
