// <span role="timer" data-countdown="17"> counts its seconds down to its data-done; a new value begins anew.
const ends = new WeakMap();

function tick() {
  for (const span of document.querySelectorAll("[data-countdown]")) {
    const { countdown } = span.dataset;
    if (ends.get(span)?.countdown !== countdown) ends.set(span, { countdown, at: performance.now() + countdown * 1000 });
    const seconds = Math.ceil((ends.get(span).at - performance.now()) / 1000);
    span.textContent = seconds > 0 ? words(seconds) : span.dataset.done ?? "no longer";
  }
}

function words(seconds) {
  if (seconds >= 5400) return `${Math.round(seconds / 3600)} h`;
  return seconds < 90 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

setInterval(tick, 1000);
