// Strips of bars by keyboard: the slider over each describes in words the bar at its position.
function describeBar(slider) {
  const bars = slider.parentElement.querySelectorAll("rect");
  for (const bar of bars) delete bar.dataset.picked;
  const bar = bars[slider.valueAsNumber];
  if (!bar) return;
  bar.dataset.picked = "";
  const words = bar.querySelector("title").textContent;
  slider.setAttribute("aria-valuetext", words);
  slider.nextElementSibling.value = words;
}
for (const event of ["input", "focusin"]) {
  document.addEventListener(event, ({ target }) => {
    if (target.matches?.(".strip > input")) describeBar(target);
  });
}
// Refreshed content arrives without the reader's position.
document.addEventListener("htmx:after:swap", () => {
  const slider = document.activeElement;
  if (slider?.matches(".strip > input")) describeBar(slider);
});
