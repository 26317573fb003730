"use strict";
// Ask rows of a run side by side. Whatever a model, a passage or a person wrote is set as text, never as markup.
const told = JSON.parse(document.getElementById("told").textContent);
const $ = (id) => document.getElementById(id);
const form = $("ask");
let number = 0; // of the question that is shown: what belongs to an earlier one is dropped

const make = (name, text, cls) => {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  if (cls) node.className = cls;
  return node;
};
const button = (text, act) => {
  const node = make("button", text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
};
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const letter = (n) => String.fromCharCode(65 + n);
const options = () => $("options").value.split("\n").map((line) => line.trim()).filter(Boolean);
const chosen = () => [...document.querySelectorAll("#rows input:checked")].map((box) => box.value);

// The test question that the page was opened with, as long as nobody changed it: only then is the right answer known.
function known() {
  const q = told.question;
  return q && q.question === $("question").value && q.options.join("\n") === options().join("\n") ? q : null;
}

function fill() {
  for (const name of Object.keys(told.rows)) {
    const box = make("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = told.chosen.includes(name);
    box.addEventListener("change", limit);
    const label = make("label");
    label.append(box, ` ${name}${told.rows[name].remote ? " (a server)" : ""}`);
    $("rows").append(label);
  }
  limit();
  const shared = readHash();
  const q = told.question || shared;
  if (!q) return;
  $("question").value = q.question;
  $("options").value = q.options.join("\n");
  $("options").rows = Math.min(8, Math.max(2, q.options.length));
  ask();
}

function limit() {
  const full = chosen().length >= told.most;
  for (const box of document.querySelectorAll("#rows input")) box.disabled = full && !box.checked;
}

// A question of one's own stands behind the # of a link, which no browser sends anywhere.
function readHash() {
  try {
    const q = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    return typeof q.question === "string" && Array.isArray(q.options) ? { question: q.question, options: q.options.map(String) } : null;
  } catch {
    return null;
  }
}

function address() {
  const rows = encodeURIComponent(chosen().join(","));
  const q = known();
  const own = encodeURIComponent(JSON.stringify({ question: $("question").value, options: options() }));
  return q ? `/?id=${encodeURIComponent(q.id)}&rows=${rows}` : `/?rows=${rows}#${own}`;
}

function ask(event) {
  if (event) event.preventDefault();
  if (!$("question").value.trim()) return;
  number += 1;
  history.replaceState(null, "", address());
  const q = known();
  $("about").textContent = q && q.gold ? `Test question ${q.id}. Right: ${q.gold}` : "";
  $("status").textContent = "asked";
  $("answers").replaceChildren();
  for (const name of chosen()) $("answers").append(new Answer(name, number).node);
}

// One row's answer, its passages, and what they did.
class Answer {
  constructor(name, number) {
    Object.assign(this, { name, number, question: $("question").value, options: options(), gold: known() });
    this.node = make("article", null, "answer");
    this.title = make("h2", name);
    this.state = make("span", "asking …", "soft");
    this.title.append(this.state);
    this.reply = make("p", "", "reply writing");
    this.shares = make("ol", null, "shares");
    this.notes = make("p", "", "soft");
    this.heading = make("h3", "Passages");
    this.about = make("p", "", "soft about");
    this.list = make("ol", null, "passages");
    this.again = button("As found", () => this.start(null));
    this.again.hidden = true;
    this.node.append(this.title, this.reply, this.shares, this.notes, this.heading, this.about, this.list, this.again);
    this.heading.hidden = this.about.hidden = true;
    this.start(null);
  }

  async start(passages) {
    if (this.stop) this.stop.abort();
    const stop = (this.stop = new AbortController());
    this.given = passages;
    delete this.node.dataset.done;
    this.last = this.losses = null;
    this.moves = [];
    this.began = performance.now();
    this.state.textContent = "asking …";
    this.state.className = "soft";
    this.reply.classList.add("writing");
    if (this.said) this.before = this.said; // shown beside the new answer
    if (!passages) this.before = null;
    this.again.hidden = !passages;
    const body = { model: this.name, question: this.question, options: this.options, answer: this.gold ? this.gold.gold : "" };
    if (passages) body.passages = passages.map(({ id, title, text, score }) => ({ id, title, text, score }));
    try {
      const got = await fetch("/ask", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: stop.signal });
      if (!got.ok) throw new Error((await got.json()).error.message);
      for await (const line of lines(got.body)) {
        if (stop.signal.aborted) return;
        this.take(line);
      }
    } catch (error) {
      if (!stop.signal.aborted) this.fail(error.message);
    }
  }

  take(event) {
    if (event.error) this.fail(event.error);
    if (event.passages) {
      this.passages = event.passages.map((p, n) => ({ ...p, edited: Boolean(this.given && this.given[n] && this.given[n].edited) }));
      this.showPassages();
    }
    if (event.said) {
      this.said = event.said;
      if (!this.last) this.state.textContent = `${((performance.now() - this.began) / 1000).toFixed(2)} s`;
      this.last = event.said;
      this.showReply();
    }
    if (event.losses) this.losses = event.losses;
    if (event.move) this.moves.push(event.move);
    if (event.end) {
      this.reply.classList.remove("writing");
      this.node.dataset.done = "yes";
      $("status").textContent = `${this.name} answered`;
    }
    if (event.losses || event.move || event.end) this.showPassages();
  }

  fail(why) {
    this.state.textContent = why;
    this.state.className = "bad";
    this.reply.classList.remove("writing");
  }

  showReply() {
    const { said } = this;
    this.reply.hidden = said.probabilities.length > 0;
    this.reply.textContent = said.reply;
    if (said.probabilities.length) this.reply.classList.remove("writing");
    this.shares.replaceChildren(
      ...said.probabilities.map((share, n) => {
        const right = this.gold && this.gold.answer === n;
        const line = make("li", null, `${n === said.predicted ? "best" : ""} ${right ? "right" : ""}`);
        const words = make("span", `${letter(n)}. ${this.options[n]} `, "words");
        if (right) words.append(make("span", "right", "tag good"));
        const bar = make("span", null, "bar");
        const fill = make("i");
        fill.style.width = `${100 * share}%`;
        bar.append(fill);
        const text = make("span", percent(share), "share");
        if (this.before && this.before.probabilities.length) text.title = `before: ${percent(this.before.probabilities[n])}`;
        line.append(words, bar, text);
        return line;
      }),
    );
    const notes = [said.cut, said.far].filter(Boolean);
    if (this.before) notes.push(`Before the change: ${this.before.probabilities.length ? this.both(this.before) : this.before.reply}`);
    this.notes.textContent = notes.join("\n");
    this.notes.hidden = !notes.length;
  }

  both(said) {
    return `${letter(said.predicted)}. ${this.options[said.predicted]}, ${percent(said.probabilities[said.predicted])}`;
  }

  showPassages() {
    const { passages, said } = this;
    if (!passages || this.list.contains(document.activeElement) && document.activeElement.tagName === "TEXTAREA") return;
    this.heading.hidden = false;
    this.heading.textContent = passages.length ? "Passages that were read" : told.rows[this.name].passages ? "No passage was read" : "Reads no passages";
    this.about.hidden = !this.losses;
    if (this.losses) {
      this.about.textContent =
        `Loss: how unlikely the LLM finds “${this.losses.answer}” after the question with this passage alone, in nats a token, ` +
        `and the change from ${this.losses.without.toFixed(2)} without any. Such losses train the retriever.`;
    }
    this.list.replaceChildren(...passages.map((p, n) => this.passage(p, n, said && said.read[n])));
  }

  passage(p, n, read) {
    const gold = this.gold && this.gold.gold_ids.includes(p.id);
    const node = make("li", null, `passage${gold ? " gold" : ""}${this.said && !read ? " unread" : ""}`);
    const head = make("div", null, "head");
    head.append(make("b", `${n + 1}. ${p.title || p.id}`));
    if (p.title) head.append(make("span", p.id, "soft"));
    if (gold) head.append(make("span", "gold", "tag good"));
    if (p.edited) head.append(make("span", "edited", "tag lost"));
    if (typeof p.score === "number") head.append(make("span", `score ${p.score.toFixed(3)}`, "soft"));
    if (this.said && !read) head.append(make("span", "no room, not read", "soft"));
    const text = make("p", p.text);
    node.append(head, text);
    if (read && read.cut) node.append(make("p", `cut, as it was read, to: ${read.text}`, "soft"));
    if (this.moves.length) {
      const places = this.moves.map((move) => move.places[n] ?? `>${told.places}`);
      const line = make("p", `place by round: ${places.join(" → ")}`, "soft places");
      line.title = "before training, and after each round";
      node.append(line);
    }
    const acts = make("div", null, "acts");
    const drop = button("Drop", () => this.start(this.passages.filter((_, i) => i !== n)));
    drop.setAttribute("aria-label", `Drop passage ${n + 1}`);
    const edit = button("Edit", () => this.edit(node, text, p, n));
    edit.setAttribute("aria-label", `Edit passage ${n + 1}`);
    acts.append(drop, edit);
    if (this.losses) acts.append(this.why(n));
    node.append(acts);
    return node;
  }

  why(n) {
    const loss = this.losses.under[n];
    const gain = this.losses.without - loss;
    const node = make("span", `loss ${loss.toFixed(2)} `, "why");
    node.title = "the loss of the answer with this passage alone: what trained the retriever";
    node.append(make("b", `${gain >= 0 ? "−" : "+"}${Math.abs(gain).toFixed(2)}`, gain >= 0 ? "helps" : "hurts"));
    return node;
  }

  edit(node, text, p, n) {
    const box = make("textarea", p.text);
    box.value = p.text;
    box.rows = Math.min(12, Math.max(3, Math.ceil(p.text.length / 60)));
    box.setAttribute("aria-label", `Text of passage ${n + 1}`);
    const save = button("Answer from this", () =>
      this.start(this.passages.map((q, i) => (i === n ? { ...q, text: box.value, edited: q.edited || box.value !== q.text } : q))),
    );
    const back = button("Cancel", () => {
      box.blur();
      this.showPassages();
    });
    const acts = make("div", null, "acts");
    acts.append(save, back);
    text.replaceWith(box);
    node.querySelector(".acts").replaceWith(acts);
    box.focus();
  }
}

// The lines of JSON of a body, as they come.
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
  if (rest) yield JSON.parse(rest);
}

form.addEventListener("submit", ask);
$("share").addEventListener("click", async () => {
  const link = location.origin + address();
  try {
    await navigator.clipboard.writeText(link);
    $("share").textContent = "Copied";
  } catch {
    history.replaceState(null, "", address());
    $("share").textContent = "In the address bar";
  }
  setTimeout(() => ($("share").textContent = "Copy link"), 2000);
});
document.addEventListener("keydown", (event) => {
  const writing = /^(TEXTAREA|INPUT|SELECT)$/.test(event.target.tagName);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(event);
  if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("question").focus();
  }
});
fill();
