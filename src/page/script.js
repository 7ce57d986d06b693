"use strict";
// Sorts, filters and picks; without it everything is shown in the order of the tables.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
for (const one of all(".script")) one.hidden = false;

// Sorting: a press on a heading, numbers by their value, what is missing last.
const valueOf = (cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));
function sort(table, column, isDown) {
  const body = table.tBodies[0];
  const isNumber = all("tr", body).some((row) => valueOf(row.cells[column]) !== null);
  const key = (row) => {
    const cell = row.cells[column];
    return isNumber ? valueOf(cell) : (cell.querySelector(".cell") ?? cell).textContent;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = isNumber ? a - b : a.localeCompare(b);
    return isDown ? -order : order;
  };
  const rows = all("tr", body).map((row) => [key(row), row]);
  rows.sort((a, b) => compare(a[0], b[0]));
  body.append(...rows.map((row) => row[1]));
  for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
  table.tHead.rows[0].cells[column].setAttribute("aria-sort", isDown ? "descending" : "ascending");
}
for (const table of all("main table[id], main table.matrix")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.onclick = () => sort(table, column, head.getAttribute("aria-sort") === "ascending");
  });
}

// Filtering: rows of tables, bars and small lines by their tags and their name.
const filters = document.getElementById("filters");
const nameOf = (item) => (item.querySelector("th .cell, title") ?? item.querySelector("th") ?? item).textContent.toLowerCase();
function filter() {
  const find = document.getElementById("find").value.trim().toLowerCase();
  const wanted = all("[data-filter]", filters).filter((one) => one.value);
  let shown = 0, rows = 0;
  for (const item of all(".scroll tbody tr, [data-tags]")) {
    const tags = (item.dataset.tags ?? "").split(" ");
    // What has no tag of a kind is not of that kind: it stays.
    const fits = (one) =>
      tags.includes(`${one.dataset.filter}:${one.value}`) || !tags.some((tag) => tag.startsWith(`${one.dataset.filter}:`));
    const isShown = wanted.every(fits) && nameOf(item).includes(find);
    if (item.tagName === "TR" && item.dataset.tags) { rows += 1; shown += isShown; }
    if (item.tagName === "g") item.style.display = isShown ? "" : "none";
    else item.hidden = !isShown;
  }
  // Bars move up to where others were.
  for (const chart of all("svg.chart")) {
    const bars = all(":scope > g.row[transform]", chart);
    if (!bars.length) continue;
    const left = bars.filter((bar) => bar.style.display !== "none");
    left.forEach((bar, index) => bar.setAttribute("transform", `translate(0 ${index * 22})`));
    chart.setAttribute("viewBox", `0 0 520 ${Math.max(left.length, 1) * 22}`);
  }
  document.getElementById("shown").textContent = shown === rows ? "" : `${shown} of ${rows} rows`;
}
filters?.addEventListener("input", filter);
filters?.addEventListener("submit", (event) => event.preventDefault());

// Reading: two or three harnesses of one experiment; the address names them, as #read/cnn/pytorch/jax.
const pickers = document.getElementById("pickers");
if (pickers) {
  const experiment = document.getElementById("pick-experiment");
  const picks = all("[data-pick]", pickers);
  const readerOf = (name) => document.querySelector(`.reader[data-experiment="${CSS.escape(name)}"]`);
  const offer = () => {
    const first = readerOf(experiment.value).querySelector(".cells");
    const options = all(".harness", first).map((one) => [one.dataset.framework, one.dataset.title]);
    picks.forEach((pick, place) => {
      const before = pick.value;
      pick.replaceChildren(...(place === 2 ? [new Option("none", "")] : []), ...options.map(([name, title]) => new Option(title, name)));
      const names = options.map((option) => option[0]);
      const usual = [names.includes("pytorch") ? "pytorch" : names[0], names.includes("jax") ? "jax" : names[1] ?? names[0], ""];
      pick.value = names.includes(before) ? before : usual[place];
    });
  };
  const show = () => {
    const names = picks.map((pick) => pick.value).filter(Boolean);
    for (const reader of all(".reader")) {
      const isPicked = reader.dataset.experiment === experiment.value;
      reader.hidden = !isPicked;
      if (!isPicked) continue;
      reader.open = true;
      for (const one of all(".harness", reader)) {
        const place = names.indexOf(one.dataset.framework);
        one.hidden = place < 0;
        one.style.order = place;
      }
    }
    document.getElementById("pair").href = "#" + ["read", experiment.value, ...names].join("/");
  };
  const follow = () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    const code = /^code-([a-z0-9-]+)$/.exec(hash);
    let [part, name, ...names] = hash.split("/");
    if (code) {
      const cell = document.getElementById(hash);
      part = "read";
      name = cell?.closest(".reader").dataset.experiment;
      names = cell ? [cell.dataset.framework, cell.dataset.framework === "numpy" ? "pytorch" : "numpy"] : [];
    }
    if (part !== "read" || !name || !readerOf(name)) return;
    experiment.value = name;
    offer();
    names.slice(0, 3).forEach((one, place) => (picks[place].value = one));
    show();
    document.getElementById("read").scrollIntoView();
  };
  experiment.onchange = () => { offer(); show(); };
  for (const pick of picks) pick.onchange = show;
  pickers.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", follow);
  offer();
  show();
  follow();
}

// Light or dark: what the system has, until told otherwise.
document.getElementById("light").onclick = () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (getComputedStyle(document.documentElement).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.style.colorScheme = isDark ? "light" : "dark";
};
