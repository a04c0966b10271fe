/** Every judged pair: filtered from one block of JSON and drawn a few at a time. No text ever becomes markup. */

const data = JSON.parse(document.getElementById("pairs-data").textContent);
const section = document.getElementById("pairs");
const form = document.getElementById("pairs-filter");
const list = document.getElementById("pairs-list");
const status = document.getElementById("pairs-status");
const more = document.getElementById("pairs-more");
const DRAWN_AT_ONCE = 30;
const SHOWN_IN_ROW = 300;
const WORDS = ["won", "lost", "tied", "unreadable"];
const ROLES = { base: "Base (before)", student: "Student (after)" };

const pairs = data.pairs.map(([item, model, outcome, parts, verdicts]) => ({
  item: data.items[item],
  model,
  outcome,
  parts,
  verdicts: verdicts.map(([judge, said, isConflict, preference, votes]) => ({
    judge, outcome: said, isConflict, preference, votes,
  })),
}));
let found = [];
let drawn = 0;

/** An element with text and children; `attributes` are set as they are. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function role(model) {
  return ROLES[data.models[model]] ?? data.models[model];
}

/** What is searched: the question, both answers, the reference and the judges' words, made once a pair. */
function searched(pair) {
  const { item, model, verdicts } = pair;
  pair.text ??= [
    item.instruction, item.input, item.reference, item.skill, item.answers[0], item.answers[model],
    ...verdicts.flatMap((verdict) => verdict.votes.map((vote) => vote[2])),
  ].join("\n").toLowerCase();
  return pair.text;
}

function hasOutcome(wanted, said, pair) {
  if (wanted === "conflict") return said.some((verdict) => verdict.isConflict);
  if (wanted === "dispute") return new Set(pair.verdicts.map((verdict) => verdict.outcome)).size > 1;
  return WORDS[said.length === 1 ? said[0].outcome : pair.outcome] === wanted;
}

/** The verdicts that count: all, or those of the one judge that is looked at. */
function verdictsOf(pair, judge) {
  return judge === "" ? pair.verdicts : pair.verdicts.filter((verdict) => verdict.judge === Number(judge));
}

function apply() {
  const wanted = Object.fromEntries(new FormData(form));
  const text = wanted.text.trim().toLowerCase();
  found = pairs.filter((pair) => {
    const said = verdictsOf(pair, wanted.judge ?? "");
    return (
      said.length > 0 &&
      (!wanted.model || pair.model === Number(wanted.model)) &&
      (!wanted.set || pair.item.set === wanted.set) &&
      (!wanted.outcome || hasOutcome(wanted.outcome, said, pair)) &&
      data.facets.every(({ key }, at) => !wanted[key] || pair.parts[at] === Number(wanted[key])) &&
      (!text || searched(pair).includes(text))
    );
  });
  const counts = [0, 0, 0, 0];
  for (const pair of found) counts[outcomeShown(pair, wanted.judge ?? "")] += 1;
  const told = WORDS.map((word, at) => `${counts[at].toLocaleString("en")} ${word}`).join(", ");
  status.textContent = `${found.length.toLocaleString("en")} of ${pairs.length.toLocaleString("en")} pairs: ${told}`;
  drawn = 0;
  list.replaceChildren();
  draw();
}

function outcomeShown(pair, judge) {
  return judge === "" ? pair.outcome : verdictsOf(pair, judge)[0].outcome;
}

function draw() {
  const judge = form.elements.judge?.value ?? "";
  list.append(...found.slice(drawn, drawn + DRAWN_AT_ONCE).map((pair) => row(pair, judge)));
  drawn = Math.min(drawn + DRAWN_AT_ONCE, found.length);
  more.hidden = drawn === found.length;
  more.textContent = `Show more of the other ${(found.length - drawn).toLocaleString("en")}`;
}

function row(pair, judge) {
  const { item, model } = pair;
  const outcome = WORDS[outcomeShown(pair, judge)];
  const lengths = `${item.lengths[model].toLocaleString("en")} against ${item.lengths[0].toLocaleString("en")} characters`;
  const notes = [data.models.length > 2 ? role(model) : "", item.skill.replaceAll("_", " "), lengths];
  if (item.set !== "main") notes.push(item.set);
  if (pair.verdicts.some((verdict) => verdict.isConflict)) notes.push("orders disagree");
  const summary = make(
    "summary", {},
    make("span", { class: `outcome ${outcome}` }, outcome),
    make("span", { class: "asked", dir: "auto" }, item.instruction.slice(0, SHOWN_IN_ROW)),
    make("small", {}, notes.filter(Boolean).join(" · ")),
  );
  const details = make("details", {}, summary);
  details.addEventListener("toggle", () => details.open && !details.dataset.filled && fill(details, pair));
  return make("li", {}, details);
}

function fill(details, pair) {
  const { item, model } = pair;
  details.dataset.filled = "yes";
  // A short instruction stands whole in the row itself.
  const isWhole = item.instruction.length <= SHOWN_IN_ROW && !item.instruction.includes("\n");
  const parts = isWhole ? [] : labelled("Instruction", item.instruction);
  if (item.input) parts.push(...labelled("Input", item.input));
  const answers = make("div", { class: "answers" }, answer(item, model), answer(item, 0));
  if (item.reference) {
    answers.append(make("div", { class: "answer", "data-answer": "reference" }, make("h3", {}, "Reference"), text(item.reference)));
  }
  const verdicts = pair.verdicts.map((verdict) => make("li", {}, ...verdictParts(verdict)));
  details.append(make("div", { class: "opened" }, ...parts, answers, make("ul", { class: "verdicts" }, ...verdicts)));
}

function answer(item, model) {
  const heading = make("h3", { dir: "auto" }, `${role(model)} `, make("small", {}, `${item.lengths[model].toLocaleString("en")} characters`));
  return make("div", { class: "answer", "data-answer": data.models[model] }, heading, text(item.answers[model]));
}

function verdictParts({ judge, outcome, isConflict, preference, votes }) {
  const weight = preference === null ? "" : `; preferred by ${(100 * preference).toFixed(1)}% of its probability`;
  const said = (isConflict ? "tied, as the two orders disagree" : WORDS[outcome]) + weight;
  const shown = votes.map(([first, preferred, reply]) => {
    const choice = preferred >= 0 ? `prefers ${role(preferred)}` : preferred === -1 ? "says tie" : "cannot be read";
    return make("li", {}, `${role(first)} shown first: ${choice}`, ...(reply ? [text(reply)] : []));
  });
  return [make("strong", {}, data.judges[judge]), `: ${said}`, make("ol", {}, ...shown)];
}

function labelled(label, value) {
  return [make("p", { class: "label" }, label), text(value)];
}

function text(value) {
  const isEmpty = !value.trim();
  return make("div", { class: isEmpty ? "text empty" : "text", dir: "auto" }, isEmpty ? "empty" : value);
}

/** Moves the focus to the next or the previous pair, drawing more where the end is reached. */
function step(by) {
  if (by > 0 && drawn < found.length && list.lastElementChild?.contains(document.activeElement)) draw();
  const here = document.activeElement.closest("#pairs-list > li");
  const next = here ? (by > 0 ? here.nextElementSibling : here.previousElementSibling) : list.firstElementChild;
  next?.querySelector("summary").focus();
}

section.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input, select");
  if (event.key === "Escape" && event.target === form.elements.text) {
    form.reset();
    apply();
  } else if (event.key === "ArrowDown" && event.target === form.elements.text) {
    event.preventDefault();
    list.querySelector("summary")?.focus();
  } else if (event.ctrlKey || event.metaKey || event.altKey || isTyping) {
    return;
  } else if (["j", "ArrowDown", "k", "ArrowUp"].includes(event.key) && event.target.matches("summary")) {
    event.preventDefault();
    step(["j", "ArrowDown"].includes(event.key) ? 1 : -1);
  } else if (event.key === "/") {
    event.preventDefault();
    form.elements.text.focus();
  }
});

let waiting = 0;
form.addEventListener("input", () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(apply);
});
form.addEventListener("reset", () => setTimeout(apply));
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", draw);
new IntersectionObserver(([entry]) => entry.isIntersecting && !more.hidden && draw(), { rootMargin: "400px" }).observe(more);

/** A row of the tables above leads to its own pairs. */
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-filter]");
  if (!link) return;
  form.reset();
  for (const [key, value] of new URLSearchParams(link.dataset.filter)) {
    if (form.elements[key]) form.elements[key].value = value;
  }
  apply();
});

section.classList.add("works");
apply();
