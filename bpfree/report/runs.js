// Tables of runs: sorted by any column, filtered by words, saved as CSV. Without this script they are plain tables.
"use strict";

const ABSENT = "–";
const collator = new Intl.Collator("en");

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A cell as plain text, for files and comparisons: what is not there is empty, minus signs and thousands as programs read them.
function value(cell, numeric) {
  const text = cell.textContent.trim();
  if (text === ABSENT) return "";
  return numeric ? text.replaceAll(",", "").replace("−", "-") : text;
}

function compare(a, b, numeric, sign) {
  if (a === "" || b === "") return (a === "") - (b === ""); // absent ones last, whatever the direction
  return sign * (numeric ? Number(a) - Number(b) : collator.compare(a, b));
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function enhance(table) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const made = [...body.rows]; // in the order of the page, to which a third click returns
  const isNumeric = headers.map(header => !header.classList.contains("text"));

  function sort(column) {
    const current = headers[column].getAttribute("aria-sort");
    const next = { ascending: "descending", descending: null }[current];
    const order = next === undefined ? "ascending" : next;
    headers.forEach(header => header.removeAttribute("aria-sort"));
    if (order) headers[column].setAttribute("aria-sort", order);
    const numeric = isNumeric[column], sign = order === "descending" ? -1 : 1;
    const key = row => value(row.cells[column], numeric);
    body.append(...(order ? made.toSorted((a, b) => compare(key(a), key(b), numeric, sign)) : made));
  }

  function filter() {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of made) {
      const text = [...row.cells].map(cell => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
    count.textContent = `${made.filter(row => !row.hidden).length} of ${made.length} runs`;
  }

  function save() {
    const lines = [headers.map(header => header.textContent.trim())];
    for (const row of body.rows) {
      if (!row.hidden) lines.push([...row.cells].map((cell, column) => value(cell, isNumeric[column])));
    }
    const text = lines.map(line => line.map(quoted).join(",") + "\r\n").join("");
    const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    element("a", { href, download: table.dataset.file }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000); // the download may ask where to be saved first
  }

  headers.forEach((header, column) => {
    const button = element("button", { type: "button", onclick: () => sort(column) }, ...header.childNodes);
    header.append(button);
  });
  const field = element("input", { type: "search", oninput: filter });
  const count = element("output");
  const download = element("button", { type: "button", onclick: save }, "Download as CSV");
  const tools = element("div", { className: "tools" }, element("label", {}, "Only runs with ", field), count, download);
  table.parentElement.before(tools);
  filter();
}

document.querySelectorAll("table[data-file]").forEach(enhance);
