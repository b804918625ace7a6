"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const pairs = [...at("pairs").children].map((item) => ({ ...item.dataset }));
  for (let index = pairs.length - 1; index > 0; index--) {
    const other = Math.floor(Math.random() * (index + 1));
    [pairs[index], pairs[other]] = [pairs[other], pairs[index]];
  }
  for (const pair of pairs) {
    const turned = Math.random() < 0.5;
    pair.left = turned ? pair.other : pair.one;
    pair.right = turned ? pair.one : pair.other;
  }
  const votes = new Map();
  let place = 0;
  let saved = true;

  const show = () => {
    const done = place >= pairs.length;
    at("place").textContent = done
      ? `All ${pairs.length} pairs are done, ${votes.size} with a vote. Save the votes.`
      : `Pair ${place + 1} of ${pairs.length}, ${votes.size} voted`;
    document.querySelector(".sides").hidden = done;
    at("prompt").hidden = done;
    at("tie").hidden = done;
    at("back").disabled = place === 0;
    at("save").disabled = votes.size === 0;
    if (done) return;
    const pair = pairs[place];
    at("prompt").textContent = pair.prompt ? `“${pair.prompt}”` : "A variation of the same picture";
    for (const side of ["left", "right"]) {
      at(`${side}-picture`).src = at(`p-${pair[side]}`).src;
      at(side).setAttribute("aria-pressed", String(votes.get(pair) === side));
    }
  };
  const vote = (choice) => {
    if (place >= pairs.length) return;
    votes.set(pairs[place], choice);
    saved = false;
    place += 1;
    at("told").textContent = "";
    show();
  };
  const save = () => {
    const cast = [...votes].map(([pair, choice]) => ({ left: pair.left, right: pair.right, choice }));
    const text = JSON.stringify({ schema: "testcard.votes/1", votes: cast }, null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "votes.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    saved = true;
    at("told").textContent = `${cast.length} votes are in votes.json, where this browser puts downloads. Count them: testcard report RUN… --votes votes.json`;
  };
  for (const choice of ["left", "right", "tie"]) at(choice).addEventListener("click", () => vote(choice));
  at("back").addEventListener("click", () => { place = Math.max(0, place - 1); show(); });
  at("save").addEventListener("click", save);
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
    if (choice) { event.preventDefault(); vote(choice); }
  });
  addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  at("ballot").hidden = false;
  show();
})();
