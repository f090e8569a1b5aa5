// Makes the table after #filters sort by a click on a heading, and filter by word and by the columns
// that data-choices names.
document.addEventListener("DOMContentLoaded", () => {
  const filters = document.getElementById("filters");
  if (!filters) return;
  const after = (element) => filters.compareDocumentPosition(element) & 4;
  const table = [...document.querySelectorAll("article table")].find(after);
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const column = (title) => headings.findIndex((cell) => cell.textContent === title);
  const text = (row, index) => row.cells[index].textContent.trim();
  const numeric = /^[\d,.]+(e[-+]\d+)?$/;
  const number = (word) => (numeric.test(word) ? Number(word.replaceAll(",", "")) : NaN);

  const compare = (a, b) => number(a) - number(b) || a.localeCompare(b);
  headings.forEach((cell, index) => {
    const button = document.createElement("button");
    button.textContent = cell.textContent;
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => compare(text(a, index), text(b, index)));
      body.append(...(down ? rows.reverse() : rows));
    });
  });

  const choices = filters.dataset.choices.split(",").map((title) => {
    const index = column(title);
    const select = document.createElement("select");
    select.ariaLabel = title;
    const words = new Set([...body.rows].flatMap((row) => text(row, index).split(/, | or /)));
    select.append(new Option(`any ${title.toLowerCase()}`, ""));
    [...words].sort().forEach((word) => select.append(new Option(word, word)));
    return { select, index };
  });
  const search = Object.assign(document.createElement("input"), { type: "search" });
  search.placeholder = search.ariaLabel = "Filter by word";
  const count = Object.assign(document.createElement("output"), { ariaLive: "polite" });

  const filter = () => {
    for (const row of body.rows) {
      const fits = ({ select, index }) => text(row, index).includes(select.value);
      const found = row.textContent.toLowerCase().includes(search.value.trim().toLowerCase());
      row.hidden = !(found && choices.every(fits));
    }
    const shown = [...body.rows].filter((row) => !row.hidden).length;
    count.textContent = `${shown} of ${body.rows.length}`;
  };
  filters.append(search, ...choices.map(({ select }) => select), count);
  filters.addEventListener("input", filter);
  filter();
});
