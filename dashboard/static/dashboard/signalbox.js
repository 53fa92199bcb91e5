// What the console adds where scripts run. Every page works without it: nothing here submits or loads anything.
"use strict";

// Age and connection of the regions, told in the bar. A region that fails keeps its last content.
const badge = document.getElementById("live");
const pause = document.getElementById("pause");
const isRegion = (el) => /^every /.test(el?.getAttribute?.("hx-trigger") ?? "");
const state = { at: Date.now(), failed: false, signedOut: false, paused: false };
const STALE_AFTER = 8;

function tell() {
  const region = document.querySelector('[hx-trigger^="every "]');
  badge.hidden = !region;
  if (pause) pause.hidden = !region;
  if (!region) return;
  const age = Math.round((Date.now() - state.at) / 1000);
  const away = region.hasAttribute("data-stale");
  const [s, word] = state.paused ? ["rest", "Paused"] : state.signedOut ? ["stop", "Signed out"] : state.failed ? ["wait", "Reconnecting"] : away || age > STALE_AFTER ? ["wait", "Stale"] : ["done", "Live"];
  const [text, old] = badge.children;
  if (badge.dataset.s !== s) badge.dataset.s = s;
  if (text.textContent !== word) text.textContent = word;
  old.textContent = word === "Live" ? "" : `${age} s old`;
  document.getElementById("sign-in").hidden = !state.signedOut;
}

function settled(ok) {
  state.failed = !ok;
  if (ok) state.at = Date.now();
  tell();
}

// A page that nobody looks at asks for nothing; it catches up within one interval when it is seen again.
document.addEventListener("htmx:before:request", (event) => {
  if ((document.hidden || state.paused) && isRegion(event.detail.ctx.sourceElement)) event.preventDefault();
});
// A refusal leaves the region as it is. Without a login too: it would take with it what is being typed.
document.addEventListener("htmx:before:response", (event) => {
  const { ctx } = event.detail;
  if (!isRegion(ctx.sourceElement)) return;
  const ok = ctx.response.status < 400;
  state.signedOut = ctx.response.status === 401;
  settled(ok);
  if (!ok) event.preventDefault();
});
document.addEventListener("htmx:error", (event) => {
  if (isRegion(event.detail.ctx?.sourceElement)) settled(false);
});
pause?.addEventListener("click", () => {
  state.paused = !state.paused;
  pause.setAttribute("aria-pressed", state.paused);
  tell();
});
setInterval(tell, 1000);
tell();

// An action that gets no answer of ours says so in its form; what was typed stays.
const decisionOf = (el) => el?.closest?.("form.decision");
const NOT_KNOWN = "Send it again: it counts once.";
function note(form, text) {
  const box = Object.assign(document.createElement("div"), { className: "all note" });
  box.dataset.s = "stop";
  box.setAttribute("role", "alert");
  box.tabIndex = -1;
  const word = Object.assign(document.createElement("b"), { textContent: "Not known" });
  box.append(word, Object.assign(document.createElement("p"), { textContent: `${text} ${NOT_KNOWN}` }));
  form.prepend(box);
}
document.addEventListener("htmx:before:request", (event) => {
  decisionOf(event.detail.ctx.sourceElement)?.querySelectorAll(":scope > .note").forEach((old) => old.remove());
});
document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement, response, text } = event.detail.ctx;
  const form = decisionOf(sourceElement);
  if (!form || response.status < 400 || text.includes('role="alert"')) return;
  event.preventDefault();
  note(form, `The answer was not the console's (${response.status}).`);
});
document.addEventListener("htmx:error", (event) => {
  const form = decisionOf(event.detail.ctx?.sourceElement);
  if (form) note(form, "No answer came.");
});

// Forms follow the state of the run: what was typed, and an answer that was just shown, go along to the new ones.
let leaving = [];
const typedIn = (area) => [...area.querySelectorAll(".field[name]")].map(({ name, value }) => ({ name, value }));
document.addEventListener("htmx:before:swap", () => {
  const focused = document.activeElement;
  leaving = [...document.querySelectorAll("[data-forms]")].map((area) => ({
    area, typed: typedIn(area), focus: area.contains(focused) ? focused.name : "" }));
});
document.addEventListener("htmx:after:swap", () => {
  const now = document.querySelector("[data-forms]");
  for (const { area, typed, focus } of now ? leaving : []) {
    if (area.isConnected) continue;
    now.prepend(...area.querySelectorAll(".decision[role=status]"));
    for (const { name, value } of typed) {
      const field = now.querySelector(`.field[name="${CSS.escape(name)}"]`);
      if (!field || (field.options && ![...field.options].some((each) => each.value === value))) continue;
      field.value = value;
      if (name === focus) field.focus();
    }
  }
  leaving = [];
  const answer = document.querySelector(".decision[role=status]:not([data-seen]), form.decision > .note:not([data-seen])");
  if (!answer) return;
  answer.dataset.seen = "";
  // The button that had the focus is gone: it goes on to the field to correct, or to the answer.
  if (document.activeElement === document.body) (answer.parentElement.querySelector("[aria-invalid=true]") ?? answer).focus();
});

// Copy an id.
function showCopies() {
  if (navigator.clipboard) for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}
document.addEventListener("htmx:after:swap", showCopies);
showCopies();
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

// Single keys can be switched off; "?" or the menu lists those of this page.
const keys = document.getElementById("keys");
const keysOn = () => localStorage.getItem("keys") !== "off";
function showKeys() {
  const found = [["?", "This list"], ...[...document.querySelectorAll("[data-key]")].map((el) => [
    el.dataset.key, [...el.childNodes].filter((node) => node.nodeName === "#text").map((node) => node.textContent).join("").trim()])];
  const cell = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  keys.querySelector("dl").replaceChildren(...[...new Map(found)].flatMap(([key, what]) => {
    const name = document.createElement("dt");
    name.append(cell("kbd", key));
    return [name, cell("dd", what)];
  }));
  document.getElementById("keys-on").checked = keysOn();
  keys.showModal();
}
keys?.addEventListener("change", (event) => localStorage.setItem("keys", event.target.checked ? "on" : "off"));
for (const button of document.querySelectorAll("[data-keys]")) {
  button.hidden = !keys;
  button.addEventListener("click", showKeys);
}

// A key leads to its form with the focus in it, or follows its link. It never submits.
document.addEventListener("keydown", (event) => {
  if (!keysOn() || keys?.open || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "?" && keys) return showKeys();
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!target) return;
  event.preventDefault();
  if (target.matches("a")) return target.click();
  const folded = target.closest("details");
  if (folded) folded.open = true;
  const field = target.matches(".field") ? target : target.closest("form")?.querySelector(".field:not([disabled])");
  (field ?? target).focus();
});

// Theme: as the system, light, dark. A cookie, so that the server paints the first frame right.
const THEMES = { "": "as the system", light: "light", dark: "dark" };
const order = Object.keys(THEMES);
function showTheme() {
  for (const button of document.querySelectorAll("[data-theme-next]")) {
    button.hidden = false;
    button.querySelector("span").textContent = THEMES[document.documentElement.dataset.theme ?? ""];
  }
}
showTheme();
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-next]")) return;
  const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % order.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  document.cookie = `theme=${next}; path=/; max-age=31536000; samesite=lax`;
  showTheme();
});

// The operators and the input of a filter's row follow the attribute that is chosen.
document.addEventListener("change", (event) => {
  const row = event.target.matches("[data-term] [name=a]") && event.target.closest("[data-term]");
  if (!row) return;
  const { operators, input } = event.target.selectedOptions[0].dataset, operator = row.querySelector("[name=op]");
  const chosen = operator.value;
  operator.replaceChildren(...operators.split("|").map((each) => new Option(each, each, false, each === chosen)));
  const value = row.querySelector("[name=v]");
  Object.assign(value, { type: input, step: "any" });
  value.labels[0].textContent = input === "datetime-local" ? "Value (UTC)" : "Value";
});

// A menu closes when the attention goes elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details:is(.who, .more)[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details:is(.who, .more)[open]")) menu.open = false;
});
