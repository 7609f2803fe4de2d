"use strict";
// The page is complete without this: it filters, copies, opens what a link points to, and shows
// the titles of a timeline's marks at once and by keyboard.

const tools = document.querySelector(".tools");
const rows = [...document.querySelectorAll("tr.trial")].map((row) => ({
  row,
  section: document.getElementById(row.dataset.section),
  text: row.textContent.toLowerCase(),
  bad: row.classList.contains("bad"),
}));

function filter() {
  const words = tools.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, section, text, bad } of rows) {
    const fits = (bad || !tools.unexpected.checked) && words.every((word) => text.includes(word));
    row.hidden = !fits;
    if (section) section.hidden = !fits;  // very many rows have none
    shown += fits;
  }
  tools.shown.value = `${shown} of ${rows.length} shown`;
}

tools.hidden = false;
tools.addEventListener("input", filter);
tools.addEventListener("submit", (event) => event.preventDefault());
filter();

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", reveal);
reveal();

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Without permission for the clipboard the text is selected, ready for the user's own copy.
      getSelection().selectAllChildren(code);
    }
  });
}

const tip = document.getElementById("tip");

function show(mark) {
  const title = mark.querySelector("title");
  if (title) {
    // The browser's own tooltip would cover ours a second later.
    mark.setAttribute("aria-label", title.textContent);
    mark.setAttribute("role", "img");
    title.remove();
  }
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.top = `${below ? box.bottom + 6 : Math.max(0, box.top - tip.offsetHeight - 6)}px`;
  tip.style.left = `${Math.max(4, Math.min(box.left, innerWidth - tip.offsetWidth - 12))}px`;
}

function hide() {
  tip.hidden = true;
}

const markOf = (event) => event.target.closest?.("svg.timeline .mark");
for (const begin of ["pointerover", "focusin"]) {
  document.addEventListener(begin, (event) => (markOf(event) ? show(markOf(event)) : hide()));
}
document.addEventListener("focusout", hide);
// Scrolling comes after the focus that caused it: the tooltip of a focused mark moves along.
document.addEventListener(
  "scroll",
  () => (document.activeElement.matches(".mark") ? show(document.activeElement) : hide()),
  true,
);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const svg = event.target.closest?.("svg.timeline");
  if (!step || !svg) return;
  const left = (mark) => mark.getBoundingClientRect().left;
  const marks = [...svg.querySelectorAll(".mark")].sort((a, b) => left(a) - left(b));
  const now = marks.indexOf(event.target);
  const next = marks[now < 0 ? 0 : now + step];
  if (!next) return;
  event.preventDefault();
  next.tabIndex = -1;
  next.focus({ preventScroll: true });
});
