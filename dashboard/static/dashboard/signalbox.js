// What the console adds where scripts run. Every page works without it: nothing here submits or loads anything.
"use strict";

// Age and connection of the regions, told in the bar. A region that fails keeps its last content.
const badge = document.getElementById("live");
const isRegion = (el) => /^every /.test(el?.getAttribute?.("hx-trigger") ?? "");
const state = { at: Date.now(), failed: false };
const STALE_AFTER = 8;

function tell() {
  const region = document.querySelector('[hx-trigger^="every "]');
  badge.hidden = !region;
  if (!region) return;
  const age = Math.round((Date.now() - state.at) / 1000);
  const away = region.hasAttribute("data-stale");
  const [s, word] = state.failed ? ["wait", "Reconnecting"] : away || age > STALE_AFTER ? ["wait", "Stale"] : ["done", "Live"];
  const [text, old] = badge.children;
  if (badge.dataset.s !== s) badge.dataset.s = s;
  if (text.textContent !== word) text.textContent = word;
  old.textContent = word === "Live" ? "" : `${age} s old`;
}

function settled(ok) {
  state.failed = !ok;
  if (ok) state.at = Date.now();
  tell();
}

// A page that nobody looks at asks for nothing; it catches up within one interval when it is seen again.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && isRegion(event.detail.ctx.sourceElement)) event.preventDefault();
});
// 401 goes on, as its header leads to the sign-in page; any other refusal leaves the region as it is.
document.addEventListener("htmx:before:response", (event) => {
  const { ctx } = event.detail;
  if (!isRegion(ctx.sourceElement) || ctx.response.status === 401) return;
  const ok = ctx.response.status < 400;
  settled(ok);
  if (!ok) event.preventDefault();
});
document.addEventListener("htmx:error", (event) => {
  if (isRegion(event.detail.ctx?.sourceElement)) settled(false);
});
setInterval(tell, 1000);
tell();

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

// A key leads to its form with the focus in it, or follows its link. It never submits.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
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

// A menu closes when the attention goes elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details:is(.who, .more)[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details:is(.who, .more)[open]")) menu.open = false;
});
