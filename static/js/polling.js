// Elements marked data-poll ask the server again and again: not while nobody is looking, and
// without closing what somebody opened.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.target.matches?.("[data-poll]")) event.preventDefault();
});
htmx.config.morphIgnore.push("open");
