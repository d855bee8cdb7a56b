// What every page can do beyond htmx: palette, shortcuts, theme, copy, filters, toasts.
// All by delegation from the document, so that swapped-in HTML needs no set-up.

const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const shown = (element) => element.checkVisibility();

// Palette: the site's pages, whatever links the page marks with data-palette, and conversations, which the server finds.
function openPalette() {
  const palette = $("#palette");
  if (!palette || palette.open) return;
  const list = $("#palette-list");
  $$("[data-found]", list).forEach((item) => item.remove());
  for (const link of $$("a[data-palette]")) {
    const item = document.createElement("li");
    const copy = document.createElement("a");
    item.dataset.found = "";
    copy.className = "menu-item";
    copy.href = link.href;
    copy.textContent = link.textContent.trim();
    item.append(copy);
    list.append(item);
  }
  const search = $("input", palette);
  search.value = "";
  filter(search);
  for (const other of $$("dialog[open]")) other.close();
  palette.showModal();
  search.dispatchEvent(new Event("palette"));
}

// <input data-filter="#list > li"> hides the items that do not hold every word typed; what is
// ticked stays seen.
function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const items = $$(input.dataset.filter);
  for (const item of items) {
    const text = item.textContent.toLowerCase();
    const ticked = $("input[type=checkbox]:checked", item);
    item.hidden = !ticked && !words.every((word) => text.includes(word));
  }
  const none = $(".palette-none", input.closest("dialog, .menu, fieldset") ?? document);
  const found = input.closest(".palette") ? $$("#palette-found > li") : [];
  if (none) none.hidden = found.length > 0 || items.some((item) => !item.hidden);
  $("#palette-conversations")?.toggleAttribute("hidden", !$("#palette-found > li"));
}

// Arrow keys walk through the palette and the menus; Enter in their search takes the first.
function walk(event) {
  const box = event.target.closest(".palette, .menu");
  if (!box || event.target.matches("input[type=radio], textarea, select")) return;
  const items = $$(".menu-item", box).filter(shown);
  if (event.key === "Enter" && event.target.matches("[data-filter]")) {
    event.preventDefault();
    items[0]?.click();
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !items.length) return;
  event.preventDefault();
  const at = items.indexOf(document.activeElement) + step;
  (at < 0 ? ($("[data-filter]", box) ?? items.at(-1)) : items[at % items.length]).focus();
}

function shortcut(event) {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    return openPalette();
  }
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (event.target.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]")) return;
  if (event.key === "?") $("#shortcuts")?.showModal();
  if (event.key === "/" && $(".composer textarea")) {
    event.preventDefault();
    $(".composer textarea").focus();
  }
}

async function copy(button) {
  const source = button.dataset.copy ? $(button.dataset.copy) : $("pre", button.closest(".code"));
  const label = $("span:not(.visually-hidden)", button) ?? button;
  label.dataset.was ??= label.textContent;
  const text = source.value ?? source.textContent;
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  label.textContent = done || copyPlainly(text) ? "Copied" : "Copy failed";
  setTimeout(() => { label.textContent = label.dataset.was; }, 1600);
}

// Over plain http there is no clipboard object; the old command still works.
function copyPlainly(text) {
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// Toasts. Good news leaves by itself; what went wrong stays until it is dismissed.
function settle() {
  for (const toast of $$(".toast:is([data-tone=ok], [data-tone=info]):not([data-seen])")) {
    toast.dataset.seen = "";
    const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove());
    setTimeout(leave, 7000);
  }
}

function showMessage(id, text) {
  if ($(`#${id}`)) return;
  const toast = document.createElement("div");
  const words = document.createElement("p");
  const button = document.createElement("button");
  Object.assign(toast, { id, className: "toast" }).dataset.tone = "error";
  words.textContent = text;
  Object.assign(button, { type: "button", className: "button quiet small", textContent: "Dismiss" });
  button.dataset.dismiss = ".toast";
  toast.append(words, button);
  $("#toasts").append(toast);
}

// An error page is no partial: its sentence becomes a toast, and what is on the page stays.
function refuse(event) {
  const { response, text } = event.detail.ctx;
  if (!(response?.status >= 400) || !/^\s*<!doctype/i.test(text ?? "")) return;
  event.preventDefault();
  const page = new DOMParser().parseFromString(text, "text/html");
  const words = [$("h1", page), $(".lead", page)].map((part) => part?.textContent.trim()).filter(Boolean);
  showMessage("page-error", words.join(". ") || `The site answered with error ${response.status}.`);
}

// A form with data-unsaved asks before what was typed is thrown away.
const changed = () => $$("form[data-unsaved][data-changed]");

document.addEventListener("keydown", walk);
document.addEventListener("keydown", shortcut);
document.addEventListener("input", ({ target }) => {
  if (target.matches("[data-filter]")) filter(target);
  const form = target.closest("form[data-unsaved]");
  if (form) form.dataset.changed = "";
});
document.addEventListener("change", ({ target }) => {
  if (!target.closest("[data-theme-choice]")) return;
  if (target.value) document.documentElement.dataset.theme = target.value;
  else delete document.documentElement.dataset.theme;
  try { localStorage.setItem("theme", target.value); } catch { /* for this page only */ }
  showTheme();
});
document.addEventListener("click", (event) => {
  const { target } = event;
  const button = target.closest("button");
  if (button?.matches("[data-copy]")) copy(button);
  if (button?.matches("[data-dismiss]")) button.closest(button.dataset.dismiss)?.remove();
  if (button?.getAttribute("commandfor") === "palette") {
    event.preventDefault(); // the command alone would show the list without this page's links
    openPalette();
  }
  if (button?.closest(".menu [popovertarget], .menu [commandfor]") || target.closest(".menu .menu-item")) {
    target.closest("[popover]")?.hidePopover();
  }
});
document.addEventListener("submit", ({ target }) => delete target.dataset.changed);
addEventListener("beforeunload", (event) => { if (changed().length) event.preventDefault(); });
document.addEventListener("htmx:before:swap", refuse);
document.addEventListener("htmx:after:swap", settle);
document.addEventListener("htmx:after:swap", () => { if ($("#palette[open]")) filter($("#palette input")); });
document.addEventListener("htmx:after:request", () => $("#no-connection")?.remove());
document.addEventListener("htmx:error", ({ detail }) => {
  if (detail.ctx && !detail.ctx.response) showMessage("no-connection", "The site cannot be reached. Your text is still here; try again.");
});

function showTheme() {
  const chosen = document.documentElement.dataset.theme ?? "";
  for (const radio of $$("[data-theme-choice] input")) radio.checked = radio.value === chosen;
}
showTheme();
settle();
