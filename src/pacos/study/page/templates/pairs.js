/** Every judged pair. */

const data = JSON.parse(document.getElementById("pairs-data").textContent);
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

function fits(pair, wanted) {
  const said = verdictsOf(pair, wanted.judge ?? "");
  return (
    said.length > 0 &&
    (!wanted.model || pair.model === Number(wanted.model)) &&
    (!wanted.set || pair.item.set === wanted.set) &&
    (!wanted.outcome || hasOutcome(wanted.outcome, said, pair)) &&
    data.facets.every(({ key }, at) => !wanted[key] || pair.parts[at] === Number(wanted[key])) &&
    (!wanted.text || searched(pair).includes(wanted.text))
  );
}

function tell(found, wanted) {
  const counts = [0, 0, 0, 0];
  for (const pair of found) counts[outcomeShown(pair, wanted.judge ?? "")] += 1;
  return `pairs: ${WORDS.map((word, at) => `${counts[at].toLocaleString("en")} ${word}`).join(", ")}`;
}

function outcomeShown(pair, judge) {
  return judge === "" ? pair.outcome : verdictsOf(pair, judge)[0].outcome;
}

function draw(pair, wanted) {
  const { item, model } = pair;
  const outcome = WORDS[outcomeShown(pair, wanted.judge ?? "")];
  const lengths = `${item.lengths[model].toLocaleString("en")} against ${item.lengths[0].toLocaleString("en")} characters`;
  const notes = [data.models.length > 2 ? role(model) : "", item.skill.replaceAll("_", " "), lengths];
  if (item.set !== "main") notes.push(item.set);
  if (pair.verdicts.some((verdict) => verdict.isConflict)) notes.push("orders disagree");
  return row(outcome, outcome, item.instruction, notes, () => opened(pair));
}

function opened({ item, model, verdicts }) {
  // A short instruction stands whole in the row itself.
  const isWhole = item.instruction.length <= SHOWN_IN_ROW && !item.instruction.includes("\n");
  const parts = isWhole ? [] : labelled("Instruction", item.instruction);
  if (item.input) parts.push(...labelled("Input", item.input));
  const answers = make("div", { class: "answers" }, answer(item, model), answer(item, 0));
  if (item.reference) {
    answers.append(make("div", { class: "answer", "data-answer": "reference" }, make("h3", {}, "Reference"), text(item.reference)));
  }
  const said = verdicts.map((verdict) => make("li", {}, ...verdictParts(verdict)));
  return [...parts, answers, make("ul", { class: "verdicts" }, ...said)];
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

browse("pairs", pairs, { fits, tell, draw });
