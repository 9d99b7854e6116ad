"use strict";
(() => {
  for (const each of document.querySelectorAll(".filter")) each.hidden = false;

  const table = document.getElementById("layers");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const amount = (text) => {
    const found = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(found) ? -Infinity : found;
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const numbers = head.classList.contains("num") || column === 0;
    head.firstChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" || (numbers && column > 0 && !head.hasAttribute("aria-sort"));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent;
      const compare = numbers
        ? (one, other) => amount(text(one)) - amount(text(other))
        : (one, other) => text(one).localeCompare(text(other), undefined, { numeric: true });
      rows.sort((one, other) => (down ? -1 : 1) * compare(one, other));
      body.append(...rows);
    });
  });

  const input = document.getElementById("filter");
  const told = document.getElementById("filtered");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let left = 0;
    for (const row of rows) {
      const words = [...row.cells].filter((cell) => !cell.classList.contains("num")).map((cell) => cell.textContent).join(" ");
      row.hidden = !words.toLowerCase().includes(wanted);
      left += row.hidden ? 0 : 1;
    }
    told.textContent = wanted ? `${left} of ${rows.length} layers` : "";
  });

  const errors = document.getElementById("errors");
  errors.addEventListener("change", () => document.getElementById("heat").classList.toggle("errors", errors.checked));

  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });
})();
