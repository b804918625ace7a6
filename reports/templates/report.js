"use strict";
(function () {
  function key(row, column) {
    var cell = row.cells[column];
    var text = cell.hasAttribute("data-sort") ? cell.getAttribute("data-sort") : cell.textContent.trim();
    var number = text === "" ? NaN : Number(text);
    return { text: text, number: number };
  }
  function sort(table, column, button) {
    var heads = table.tHead.rows[0].cells;
    var up = heads[column].getAttribute("aria-sort") !== "ascending";
    for (var i = 0; i < heads.length; i++) {
      if (heads[i].hasAttribute("aria-sort")) { heads[i].setAttribute("aria-sort", "none"); }
    }
    heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows).map(function (row, index) {
      return { row: row, index: index, key: key(row, column) };
    });
    rows.sort(function (a, b) {
      if (a.key.text === "" || b.key.text === "") {
        return a.key.text === b.key.text ? a.index - b.index : a.key.text === "" ? 1 : -1;
      }
      var numeric = !isNaN(a.key.number) && !isNaN(b.key.number);
      var order = numeric ? a.key.number - b.key.number : a.key.text.localeCompare(b.key.text);
      return (up ? order : -order) || a.index - b.index;
    });
    rows.forEach(function (entry) { body.appendChild(entry.row); });
    button.focus();
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", function () { sort(table, column, button); });
    });
  });
  function reveal() {
    var name = decodeURIComponent(location.hash.slice(1));
    var target = name && document.getElementById(name);
    if (!target) { return; }
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();
  document.querySelectorAll(".copy").forEach(function (box) {
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      var range = document.createRange();
      range.selectNodeContents(box.querySelector("pre"));
      var selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    });
    box.appendChild(button);
  });
})();
