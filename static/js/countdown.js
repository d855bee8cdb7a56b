// <span role="timer" data-countdown="17"> counts its seconds down from when it is first seen.
const left = new WeakMap();

function tick() {
  for (const span of document.querySelectorAll("[data-countdown]")) {
    if (!left.has(span)) left.set(span, performance.now() + span.dataset.countdown * 1000);
    const seconds = Math.ceil((left.get(span) - performance.now()) / 1000);
    if (seconds <= 0) span.removeAttribute("data-countdown");
    span.textContent = seconds > 0 ? words(seconds) : "no longer";
  }
}

function words(seconds) {
  if (seconds >= 5400) return `${Math.round(seconds / 3600)} h`;
  return seconds < 90 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

setInterval(tick, 1000);
