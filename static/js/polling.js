// Elements marked data-poll are refreshed from the server: not while the page is hidden, and
// without closing what somebody opened.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.target.matches?.("[data-poll]")) event.preventDefault();
});
htmx.config.morphIgnore.push("open");
