// A card that was moved keeps its menu open and the focus on the button, so that it can be moved on.
let pressed = "";
document.addEventListener("click", ({ target }) => {
  pressed = target.closest?.("#cards .menu [name=to]")?.id ?? "";
});
document.addEventListener("htmx:after:swap", () => {
  const button = pressed && document.getElementById(pressed);
  pressed = "";
  if (!button) return;
  const menu = button.closest("[popover]");
  if (!menu.matches(":popover-open")) menu.showPopover();
  button.focus();
});
