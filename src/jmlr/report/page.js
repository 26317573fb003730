"use strict";
// Every test question, filtered, twenty at a time. Texts of models and data are set as text only, never as markup.
const data = JSON.parse(document.getElementById("asked").textContent);
const AT_ONCE = 20;
const form = document.getElementById("filter");
const list = document.getElementById("list");
let shown = AT_ONCE;

const make = (name, text, attributes = {}) => {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const right = (question, system) => question.answers[system] && question.answers[system][0] === question.gold;
const outcome = (question, first, second) =>
  right(question, second) ? (right(question, first) ? "both right" : "gained") : right(question, first) ? "lost" : "both wrong";

// Where the first gold passage stands: "first", "read" (among the k that the question's system reads), "later", "missing".
function standing(place, read) {
  if (place === undefined || place === null) return "unknown";
  return place === 0 ? "missing" : place === 1 ? "first" : place <= read ? "read" : "later";
}

function chosen() {
  const given = Object.fromEntries(new FormData(form));
  const [first, second] = [Number(given.first), Number(given.second)];
  const words = given.words.toLowerCase().split(/\s+/).filter(Boolean);
  return data.questions.filter((question) => {
    const places = question.places[second];
    const read = Math.max(1, ...question.answers.map((answer) => (answer ? answer[2].length : 0)));
    const after = places[Math.min(Number(given.round), places.length - 1)];
    return (
      (!given.outcome || outcome(question, first, second) === given.outcome) &&
      (!given.before || standing(places[0], read) === given.before) &&
      (!given.after || standing(after, read) === given.after) &&
      words.every((word) => question.text.toLowerCase().includes(word))
    );
  });
}

function passage(number, question) {
  const [id, title, text] = data.passages[number];
  const gold = question.gold_passages.includes(number);
  const node = make("li", `${[title, text].filter(Boolean).join(". ")} `, gold ? { class: "gold" } : {});
  if (gold) node.append(make("span", "gold", { class: "tag right" }), " ");
  node.append(make("span", id, { class: "low" }));
  return node;
}

function reply(question, system) {
  const node = make("div");
  const answer = question.answers[system];
  node.append(make("b", data.systems[system].title));
  if (!answer) {
    node.append(" was not asked");
    return node;
  }
  const [option, percent, passages] = answer;
  const good = right(question, system);
  node.append(" answers ", make("b", option < 0 ? "(not parsed)" : question.options[option], { class: good ? "right" : "wrong" }));
  node.append(make("span", ` ${good ? "right" : "wrong"}${percent === null ? "" : `, ${percent} %`}`, { class: "low" }));
  const read = make("ol");
  passages.forEach((number) => read.append(passage(number, question)));
  if (passages.length) node.append(read);
  return node;
}

function places(question, system) {
  const told = question.places[system].map((place, round) =>
    `${round ? `round ${round}` : "before training"}: ${place === null ? "not known" : place || "not among the candidates"}`);
  return `Place of the gold passage, ${data.systems[system].title}: ${told.join(", ")}`;
}

function body(question) {
  const node = make("div");
  const options = question.options.map((text, i) => `${String.fromCharCode(65 + i)}. ${text}${i === question.gold ? " (gold)" : ""}`);
  node.append(make("p", options.join("; "), { class: "soft" }));
  data.systems.forEach((system, i) => system.rounds && node.append(make("p", places(question, i), { class: "soft" })));
  const pair = make("div", null, { class: "pair" });
  data.systems.forEach((_, i) => pair.append(reply(question, i)));
  node.append(pair);
  return node;
}

function entry(question, first, second) {
  const node = make("details");
  const said = outcome(question, first, second);
  const tint = { gained: "right", "both right": "right", lost: "wrong", "both wrong": "wrong" }[said];
  const head = make("summary", `${question.text} `);
  head.append(make("span", said, { class: `tag ${tint}` }));
  node.append(head);
  node.addEventListener("toggle", () => node.children.length < 2 && node.append(body(question)));
  return node;
}

function show(most = AT_ONCE) {
  shown = most;
  const found = chosen();
  const [first, second] = [Number(form.elements.first.value), Number(form.elements.second.value)];
  list.replaceChildren(...found.slice(0, shown).map((question) => entry(question, first, second)));
  document.getElementById("count").textContent = `${found.length} of ${data.questions.length} questions${found.length > shown ? `; the first ${shown} are shown` : ""}`;
  document.getElementById("more").hidden = found.length <= shown;
}

form.addEventListener("input", () => show());
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("more").addEventListener("click", () => show(shown + AT_ONCE));
form.hidden = false;
show();
