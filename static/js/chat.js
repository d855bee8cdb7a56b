// What the conversation's page can do beyond htmx: keys, drafts, following the answer, a model search.
// Works by delegation where parts are swapped in; without it the page is plain forms.

const $ = (selector, from = document) => from.querySelector(selector);
const composer = $("#composer");
const prompt = $("#prompt");
const jump = $(".jump-latest");
const MANY = 12; // models; from here on a list is searched, not scrolled

// Keys. Enter sends, Shift-Enter breaks the line; Enter that ends an input method's composition does neither.
const touch = matchMedia("(pointer: coarse)");
const stopButton = () => $("#composer-action.composer-stop");

prompt?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  if (touch.matches) return; // on a touch keyboard Enter is the only way to break a line
  event.preventDefault();
  if (prompt.value.trim() && !stopButton()) composer.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || $("dialog[open], :popover-open")) return;
  stopButton()?.click();
});

// Draft: kept for each conversation until it is sent.
const draft = {
  get key() { return `draft:${composer.dataset.draft}`; },
  keep() {
    try {
      if (prompt.value) localStorage.setItem(this.key, prompt.value);
      else localStorage.removeItem(this.key);
    } catch { /* no storage: the draft lives as long as the page */ }
  },
  // What was typed is newer than a question that the page returned: that one is still above.
  restore() {
    try { prompt.value = localStorage.getItem(this.key) || prompt.value; } catch { /* as above */ }
  },
};
// A sending is one request, and one over the limit is none: its text stays, and the limit is shown beside it.
let sending = false;
function refusal() {
  const limit = Number(prompt.dataset.limit);
  if (prompt.value.length <= limit) return "";
  const { length } = [...prompt.value];
  return length > limit ? prompt.dataset.tooLong.replace("{count}", length.toLocaleString("en")) : "";
}
function showRefusal(text) {
  const notice = document.createElement("p");
  Object.assign(notice, { className: "notice", role: "alert", textContent: text }).dataset.tone = "error";
  $("#composer-errors").replaceChildren(notice);
  markInvalid();
}
function markInvalid() {
  if ($("#composer-errors > *")) prompt.setAttribute("aria-invalid", "true");
  else prompt?.removeAttribute("aria-invalid");
}
if (composer) {
  draft.restore();
  prompt.addEventListener("input", () => draft.keep());
  composer.addEventListener("submit", (event) => {
    // Pressed while an answer or the sending is under way: the text stays, Stop is another form's.
    const problem = refusal();
    if (problem) showRefusal(problem);
    if (!problem && !sending && !stopButton()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}
// The first question led to this page: the next is written where the first was.
if (document.referrer.replace(/\?.*/, "").endsWith("/chat/new/") && !touch.matches) prompt?.focus({ preventScroll: true });

// What was sent leaves the composer when it has arrived; what was typed meanwhile stays.
let sent = "";
document.addEventListener("htmx:before:request", ({ target }) => {
  if (target === composer) [sent, sending] = [prompt.value, true];
});
document.addEventListener("htmx:after:request", ({ target, detail }) => {
  if (target !== composer) return;
  const response = detail.ctx?.response?.raw;
  sending = Boolean(response?.headers.get("HX-Redirect")); // until the next page is there
  if (!response?.ok) return;
  if (prompt.value.startsWith(sent)) prompt.value = prompt.value.slice(sent.length);
  draft.keep();
  follow.on = true;
});

document.addEventListener("htmx:error", ({ target }) => { if (target === composer) sending = false; });
document.addEventListener("htmx:after:swap", markInvalid);
// A page that comes back from the browser's memory is a new form: its next message is another one.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted || !composer) return;
  sending = false;
  $("#composer-token").value = crypto.getRandomValues(new Uint32Array(4)).join("-");
});

// No answer came: the question is put back, to be changed or sent to another model. Trying again takes it away.
const lastQuestion = (reply) => $(".message-body", [...document.querySelectorAll("[data-role=user]")].at(-1) ?? reply)?.textContent ?? "";
document.addEventListener("htmx:after:swap", () => {
  const reply = [...document.querySelectorAll(".message")].at(-1);
  if (!prompt || reply?.dataset.status !== "failed" || "returned" in reply.dataset) return;
  reply.dataset.returned = "";
  prompt.value ||= lastQuestion(reply);
});
document.addEventListener("submit", ({ target }) => {
  if (target.matches(".retry") && prompt?.value === lastQuestion(target)) prompt.value = "";
});

// Following. The page scrolls with the answer only while the reader is at its end.
const page = document.scrollingElement;
const follow = {
  on: true,
  atEnd: () => page.scrollHeight - page.scrollTop - page.clientHeight < 80,
  look() {
    this.on = this.atEnd();
    if (jump) jump.hidden = this.on;
  },
  go() { page.scrollTop = page.scrollHeight; },
};
addEventListener("scroll", () => follow.look(), { passive: true });
jump?.addEventListener("click", () => { follow.on = true; follow.go(); });
new ResizeObserver(() => { if (follow.on) follow.go(); else follow.look(); }).observe($("#transcript") ?? document.body);
if (!location.hash) follow.go();

// A reply that has begun to come is no longer waiting.
document.addEventListener("htmx:sse:after:message", ({ target }) => {
  if (target.dataset?.status === "pending" && $(".tail:not(:empty), .message-body:not(:empty)", target)) {
    target.dataset.status = "running";
  }
});
// While an answer is awaited its seconds are counted here; an attempt that was shown before keeps its start.
const started = new Map();
function count() {
  for (const line of document.querySelectorAll(".waiting[data-since]")) {
    const { since, waited, left } = line.dataset;
    if (!started.has(since)) started.set(since, Date.now() - 1000 * waited);
    const passed = Math.floor((Date.now() - started.get(since)) / 1000);
    const total = Number(waited) + Number(left);
    const shown = { waited: passed, left: Math.max(0, total - passed) };
    for (const span of line.querySelectorAll("[data-counts]")) span.textContent = shown[span.dataset.counts];
  }
}
count();
setInterval(count, 1000);
// A stream that could not even be opened (the server was starting again) is tried again with the message as it is now.
async function reopen(message) {
  const response = await fetch(`/chat/messages/${message.id.replace("message-", "")}/`).catch(() => null);
  if (response?.redirected) return location.reload(); // signed out meanwhile
  if (!response?.ok || !message.isConnected || message._htmx?.sse) return;
  const part = document.createElement("template");
  part.innerHTML = await response.text();
  const fresh = part.content.firstElementChild;
  if (!fresh.matches("[hx-sse\\:connect]")) return location.reload(); // it has ended: so has the rest of the page
  message.replaceWith(fresh);
  htmx.process(fresh);
}
setInterval(() => {
  for (const message of document.querySelectorAll(".message[hx-sse\\:connect]")) {
    if (!message._htmx?.sse && !document.hidden) reopen(message);
  }
}, 3000);

// Times in the reader's own zone.
function localise(from = document) {
  for (const time of from.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    time.textContent = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    time.title = moment.toLocaleString();
  }
}
localise();
document.addEventListener("htmx:after:swap", () => localise());

// Beside the thread the list is open; above it, on a narrow page, it is folded.
const aside = $(".conversations details");
if (aside) aside.open = matchMedia("(width >= 60rem)").matches;

// Models. Where there are many, a menu with a search stands in for the list; the list stays the truth.
function searchable(select) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "composer-model" });
  button.setAttribute("popovertarget", "models");
  button.setAttribute("aria-haspopup", "true");
  const menu = document.createElement("div");
  Object.assign(menu, { className: "menu", id: "models", popover: "auto" });
  const search = document.createElement("input");
  Object.assign(search, { type: "search", className: "menu-search", autofocus: true, placeholder: "Filter models" });
  search.dataset.filter = "#models li:not(:has(.menu-label))";
  search.setAttribute("aria-label", "Filter models");
  const list = document.createElement("ul");
  const items = [...select.options].map((option) => item(option));
  const lines = new Map(items);
  for (const part of select.children) {
    if (part.matches("option")) list.append(lines.get(part));
    else list.append(...group(part, [...part.children].map((option) => lines.get(option))));
  }
  if (select.dataset.others > "0") list.append(label(`${select.dataset.others} more models: type to find them`));
  search.addEventListener("input", () => {
    for (const fold of list.querySelectorAll("details")) fold.open = Boolean(search.value) || "chosen" in fold.dataset;
  });
  const show = () => {
    const chosen = select.selectedOptions[0];
    const provider = chosen?.dataset.provider;
    button.textContent = `${chosen ? named(chosen) : "Pick a model"}${provider ? ` \u00b7 ${provider}` : ""} \u25be`;
    for (const [option, line] of items) $("button", line).setAttribute("aria-pressed", String(option === chosen));
  };
  list.addEventListener("click", ({ target }) => {
    const picked = target.closest("[data-value]");
    if (!picked) return;
    const { value } = picked.dataset;
    if (![...select.options].some((option) => option.value === value)) select.add(new Option(picked.firstChild.textContent.trim(), value));
    select.value = value;
    show();
    prompt.focus();
  });
  if (select.dataset.search) searched(search, list, select.dataset.search);
  menu.append(search, list);
  select.hidden = true;
  select.after(button, menu);
  show();
}
// Thousands are not in the page: the server looks through them. Nothing typed shows the likely ones again.
function searched(search, list, url) {
  const likely = [...list.children];
  let wait = 0;
  search.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(async () => {
      const text = search.value;
      if (!text.trim()) return list.replaceChildren(...likely);
      const response = await fetch(`${url}?q=${encodeURIComponent(text)}`).catch(() => null);
      if (!response?.ok || response.redirected || text !== search.value) return;
      list.innerHTML = await response.text();
    }, 150);
  });
}
// An option's own name: in a group that is no provider's the provider's name follows it.
function named({ textContent, dataset }) {
  return textContent.replace(` \u00b7 ${dataset.provider}`, "");
}
function item(option) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "menu-item", textContent: named(option) });
  button.dataset.value = option.value;
  const { provider, status } = option.dataset;
  const shown = document.createElement("small");
  shown.textContent = provider ?? "";
  button.append(" ", shown);
  if (status) button.append(health(status));
  line.append(button);
  return [option, line];
}
// The shape of a provider's health; its word is for those who do not see it.
function health(status) {
  const shape = document.createElement("span");
  Object.assign(shape, { className: "status", title: status });
  shape.dataset.status = status;
  const word = document.createElement("span");
  Object.assign(word, { className: "visually-hidden", textContent: status });
  shape.append(word);
  return shape;
}
// A group of more than ten models is folded, unless it holds the chosen one.
const FOLDED = 10;
function group({ label: name, children }, lines) {
  if (lines.length <= FOLDED) return [label(name), ...lines];
  const line = document.createElement("li");
  const fold = document.createElement("details");
  const summary = document.createElement("summary");
  Object.assign(summary, { className: "menu-label", textContent: `${name} (${lines.length})` });
  const inner = document.createElement("ul");
  inner.append(...lines);
  if ([...children].some((option) => option.selected)) fold.dataset.chosen = "";
  fold.open = "chosen" in fold.dataset;
  fold.append(summary, inner);
  line.append(fold);
  return [line];
}
function label(text) {
  const line = document.createElement("li");
  const words = document.createElement("p");
  Object.assign(words, { className: "menu-label", textContent: text });
  line.append(words);
  return line;
}
const models = $("#composer-model");
if (models?.options.length > MANY) searchable(models);
