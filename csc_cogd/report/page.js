"use strict";

// A viewer shows one layer left of its slider and one right of it.
for (const viewer of document.querySelectorAll(".viewer")) {
  const stack = viewer.querySelector(".stack");
  const area = viewer.querySelector(".window");
  const slider = viewer.querySelector("input[type=range]");
  const layers = [...viewer.querySelectorAll(".layer")];
  const layer = (name) => layers.find((one) => one.dataset.layer === name);

  const move = () => stack.style.setProperty("--split", slider.value + "%");

  const choose = (side) => {
    const chosen = viewer.querySelector(`fieldset.${side} input:checked`).value;
    for (const one of layers) {
      one.classList.toggle(side, one.dataset.layer === chosen);
      one.hidden = !one.matches(".left, .right");
    }
    viewer.querySelector(`.name.${side}`).textContent = chosen;
  };

  for (const side of ["left", "right"]) {
    viewer.querySelector(`fieldset.${side}`).addEventListener("change", () => choose(side));
    choose(side);
  }
  slider.addEventListener("input", move);
  move();

  const mark = viewer.querySelector("input.mark");
  if (mark) { // the mask's picture again, over the picture before
    const marks = layer("Mask").querySelector("img").cloneNode();
    marks.className = "marks";
    layer("Before").append(marks);
    const show = () => { marks.hidden = !mark.checked; };
    mark.addEventListener("change", show);
    show();
  }

  viewer.querySelector("select.zoom").addEventListener("change", (event) => {
    const zoom = Number(event.target.value); // 0: fits the page
    const middle = (area.scrollLeft + area.clientWidth / 2) / area.scrollWidth;
    const center = (area.scrollTop + area.clientHeight / 2) / area.scrollHeight;
    stack.style.width = zoom ? (zoom * stack.dataset.width) / devicePixelRatio + "px" : "";
    area.scrollLeft = middle * area.scrollWidth - area.clientWidth / 2;
    area.scrollTop = center * area.scrollHeight - area.clientHeight / 2;
  });
}
