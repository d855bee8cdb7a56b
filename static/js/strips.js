// Strips of bars by keyboard: the slider over each says in words which bar it stands on.
function tell(slider) {
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
    if (target.matches?.(".strip > input")) tell(target);
  });
}
// What is asked for anew arrives without the reader's place.
document.addEventListener("htmx:after:swap", () => {
  const slider = document.activeElement;
  if (slider?.matches(".strip > input")) tell(slider);
});
