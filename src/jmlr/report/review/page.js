"use strict";
// State: {kit, reviewer, answers: {item: {criterion: "left" | "both" | "neither" | "right" | "unsure"}}, comments: {item: text}}. Kept in localStorage, saved as a file.
const data = JSON.parse(document.getElementById("data").textContent);
const place = `jmlr-review-${data.kit}-${data.reviewer}`;
const choices = ["left", "both", "neither", "right", "unsure"];
const titles = (criterion) => ["Left", criterion.both, criterion.neither, "Right", "Cannot judge"];
let state = { kit: data.kit, reviewer: data.reviewer, answers: {}, comments: {} };
let current = 0;

const byId = (id) => document.getElementById(id);
const make = (name, text, attributes = {}) => {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text; // text only: what a model wrote is never markup
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const given = (item) => state.answers[item.id] || {};
const complete = (item) => data.criteria.every((c) => given(item)[c.id]);

function warn(text) {
  byId("warning").textContent = text;
  byId("warning").hidden = !text;
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(state));
  } catch {
    warn("This browser keeps nothing between visits: save your file before you close the page.");
  }
  progress();
}

function progress() {
  const done = data.items.filter(complete).length;
  byId("progress").textContent = `Question ${current + 1} of ${data.items.length}; ${done} complete`;
  byId("bar").firstElementChild.style.width = `${(100 * done) / data.items.length}%`;
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === data.items.length - 1;
  byId("open").disabled = done === data.items.length;
  byId("done").hidden = done < data.items.length;
}

function side(title, reply) {
  const node = make("section", null, { class: "side", "aria-label": title });
  node.append(make("h3", title), make("p", reply.answer, { class: "answer" }));
  if (reply.rationale) node.append(make("p", reply.rationale, { class: "rationale" }));
  if (reply.passages.length) {
    const passages = make("details", null, { open: "" });
    const list = make("ol");
    reply.passages.forEach(({ title, text }) => {
      const entry = make("li");
      if (title) entry.append(make("b", title), ": ");
      entry.append(text);
      list.append(entry);
    });
    passages.append(make("summary", `Its ${reply.passages.length} passages`), list);
    node.append(passages);
  } else node.append(make("p", "It had no passages.", { class: "none" }));
  return node;
}

function question(item, criterion) {
  const group = make("fieldset", null, { "data-criterion": criterion.id });
  const legend = make("legend");
  legend.append(make("b", criterion.title), make("span", criterion.text));
  const row = make("div", null, { class: "choices" });
  for (const [i, value] of choices.entries()) {
    const label = make("label");
    const input = make("input", null, { type: "radio", name: criterion.id, value });
    input.checked = given(item)[criterion.id] === value;
    input.addEventListener("change", () => choose(item, criterion.id, value));
    label.append(input, titles(criterion)[i]);
    row.append(label);
  }
  group.append(legend, row);
  return group;
}

function choose(item, criterion, value) {
  state.answers[item.id] = { ...given(item), [criterion]: value };
  keep();
}

function show(number) {
  current = Math.min(Math.max(number, 0), data.items.length - 1);
  const item = data.items[current];
  const options = make("ul", null, { class: "options" });
  item.options.forEach((text, i) => options.append(make("li", `${String.fromCharCode(65 + i)}. ${text}`)));
  const pair = make("div", null, { class: "pair" });
  pair.append(side("Left", item.left), side("Right", item.right));
  const form = make("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  data.criteria.forEach((criterion) => form.append(question(item, criterion)));
  const comment = make("textarea", state.comments[item.id] || "", { "aria-label": "Comment", placeholder: "Comment, if you like" });
  comment.addEventListener("input", () => {
    state.comments[item.id] = comment.value;
    keep();
  });
  form.append(comment);
  byId("item").replaceChildren(make("h2", item.question), options, pair, form);
  window.scrollTo(0, 0);
  progress();
}

function nextOpen() {
  const order = data.items.map((_, i) => (current + 1 + i) % data.items.length);
  const open = order.find((i) => !complete(data.items[i]));
  if (open !== undefined) show(open);
}

function save() {
  const link = make("a", null, { download: `review-${data.reviewer}.json` });
  link.href = URL.createObjectURL(new Blob([JSON.stringify(state, null, 1)], { type: "application/json" }));
  document.body.append(link);
  link.click();
  link.remove();
}

function adopt(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    return warn("That file is not one of this page.");
  }
  if (!found || found.kit !== data.kit || found.reviewer !== data.reviewer) return warn("That file belongs to another page.");
  state = { kit: data.kit, reviewer: data.reviewer, answers: found.answers || {}, comments: found.comments || {} };
  warn("");
  keep();
  show(current);
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "TEXTAREA") return;
  const item = data.items[current];
  const number = ["1", "2", "3", "4", "5"].indexOf(event.key);
  if (number >= 0) {
    const criterion = data.criteria.find((c) => !given(item)[c.id]);
    if (!criterion) return;
    const input = document.querySelector(`input[name="${criterion.id}"][value="${choices[number]}"]`);
    input.checked = true;
    choose(item, criterion.id, choices[number]);
  } else if (event.key === "n") show(current + 1);
  else if (event.key === "p") show(current - 1);
  else if (event.key === "s") save();
  else return;
  event.preventDefault();
}

byId("previous").addEventListener("click", () => show(current - 1));
byId("next").addEventListener("click", () => show(current + 1));
byId("open").addEventListener("click", nextOpen);
byId("save").addEventListener("click", save);
byId("load").addEventListener("change", async (event) => event.target.files[0] && adopt(await event.target.files[0].text()));
document.addEventListener("keydown", key);
try {
  const kept = JSON.parse(localStorage.getItem(place) || "null");
  if (kept && kept.kit === data.kit) state = { ...state, ...kept };
} catch {
  warn("This browser keeps nothing between visits: save your file before you close the page.");
}
show(0);
