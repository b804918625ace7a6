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
    if (target.closest(".gone") && document.getElementById("findings-filter").reset) {
      document.getElementById("findings-filter").reset();
    }
    for (var node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") { node.open = true; }
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();
  function field(box, title, control) {
    var label = document.createElement("label");
    label.appendChild(document.createTextNode(title));
    label.appendChild(control);
    box.appendChild(label);
    return control;
  }
  function choice(values) {
    var select = document.createElement("select");
    ["any"].concat(values).forEach(function (value) { select.appendChild(new Option(value, value === "any" ? "" : value)); });
    return select;
  }
  function words(text) { return text.toLowerCase().split(/\s+/).filter(Boolean); }
  function holds(text, wanted) {
    var low = text.toLowerCase();
    return wanted.every(function (word) { return low.indexOf(word) >= 0; });
  }
  function filter(box, fields, apply) {
    var search = document.createElement("input");
    search.type = "search";
    field(box, "Words", search);
    var selects = fields.map(function (each) { return field(box, each[0], choice(each[1])); });
    var said = document.createElement("output");
    box.appendChild(said);
    function run() {
      said.textContent = apply(words(search.value), selects.map(function (select) { return select.value; }));
    }
    search.addEventListener("input", run);
    selects.forEach(function (select) { select.addEventListener("change", run); });
    box.hidden = false;
    box.reset = function () {
      search.value = "";
      selects.forEach(function (select) { select.value = ""; });
      run();
    };
  }
  function distinct(values) {
    return values.filter(function (value, index) { return values.indexOf(value) === index; });
  }
  function list(selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); }
  var matrix = document.getElementById("matrix");
  if (matrix) {
    var verdicts = ["fail", "deviates", "unproven", "not-run", "waived", "info", "pass", "unsupported"];
    var rules = list("tbody tr:not(.area)", matrix);
    filter(document.getElementById("matrix-filter"), [["Verdict", verdicts]], function (wanted, chosen) {
      var active = wanted.length > 0 || chosen[0] !== "", hits = 0;
      matrix.classList.toggle("filtering", active);
      rules.forEach(function (row) {
        var hit = holds(row.cells[0].textContent, wanted) && (!chosen[0] || row.querySelector(".cell.w-" + chosen[0]) !== null);
        row.classList.toggle("hit", active && hit);
        hits += hit ? 1 : 0;
      });
      list("tr.area", matrix).forEach(function (row) {
        row.classList.toggle("hit", row.parentNode.querySelector("tr.hit:not(.area)") !== null);
      });
      return active ? hits + " of " + rules.length + " rules" : "";
    });
  }
  var findings = list("article.finding");
  var findingsBox = document.getElementById("findings-filter");
  if (findingsBox && findings.length > 3) {
    var opened = list("#findings details.group").map(function (group) { return group.open; });
    filter(findingsBox, [
      ["Verdict", distinct(findings.map(function (item) { return item.dataset.verdict; }))],
      ["Target", distinct(findings.map(function (item) { return item.dataset.target; }))]
    ], function (wanted, chosen) {
      var active = wanted.length > 0 || chosen.join("") !== "", hits = 0;
      list("#findings details.group").forEach(function (group, index) {
        var rule = group.querySelector("h3").textContent, any = false;
        list("article.finding", group).forEach(function (item) {
          var hit = (!chosen[0] || item.dataset.verdict === chosen[0]) && (!chosen[1] || item.dataset.target === chosen[1]) &&
            holds(rule + " " + item.textContent, wanted);
          item.classList.toggle("gone", !hit);
          hits += hit ? 1 : 0;
          any = any || hit;
        });
        group.classList.toggle("gone", !any);
        group.open = active ? any : opened[index];
      });
      return active ? hits + " of " + findings.length + " findings" : "";
    });
  }
  var volumeBox = document.getElementById("volume");
  if (volumeBox) {
    var dollars = function (value) {
      var places = value > 0 ? Math.max(0, Math.min(12, 2 - Math.floor(Math.log10(value) + 1e-12))) : 0;
      return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
    };
    var forecast = function () {
      var images = Number(volumeBox.querySelector("input").value);
      var valid = isFinite(images) && images >= 0;
      document.querySelector("#volumes th.yours").textContent = valid ? images.toLocaleString("en-US") + " a month" : "Your volume";
      list("#volumes td.yours").forEach(function (cell) {
        if (cell.dataset.each === undefined) { return; }
        cell.textContent = valid ? dollars(images * cell.dataset.each) : "–";
        if (valid && cell.dataset.low !== undefined) {
          var low = dollars(images * cell.dataset.low), high = dollars(images * cell.dataset.high);
          if (low === high) { return; }
          var small = document.createElement("small");
          small.textContent = low + "–" + high;
          cell.appendChild(small);
        }
      });
    };
    volumeBox.hidden = false;
    list("#volumes .yours").forEach(function (cell) { cell.hidden = false; });
    volumeBox.querySelector("input").addEventListener("input", forecast);
    forecast();
  }
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
