/** The cases of red teaming. */

const data = JSON.parse(document.getElementById("cases-data").textContent);
const VERDICTS = ["hit", "unscored", "error", "safe"];

const cases = data.cases.map(([verdict, source, objective, technique, topic, prompt, answer, rationale, judge, score]) => ({
  verdict: VERDICTS[verdict], source, objective, technique, topic, prompt, answer, rationale, judge, score,
}));

/** What is searched, made once a case. */
function searched(one) {
  one.text ??= [one.prompt, one.answer, one.rationale, one.topic].join("\n").toLowerCase();
  return one.text;
}

function fits(one, wanted) {
  return (
    (!wanted.verdict || one.verdict === wanted.verdict) &&
    ["source", "objective", "technique"].every((key) => !wanted[key] || one[key] === Number(wanted[key])) &&
    (!wanted.text || searched(one).includes(wanted.text))
  );
}

function tell(found) {
  const counts = VERDICTS.map((verdict) => [found.filter((one) => one.verdict === verdict).length, verdict]);
  return `cases: ${counts.map(([n, verdict]) => `${n.toLocaleString("en")} ${verdict}`).join(", ")}`;
}

function draw(one) {
  const notes = [data.source[one.source], data.objective[one.objective], data.technique[one.technique], one.topic];
  return row(one.verdict, one.verdict, one.prompt, notes, () => opened(one));
}

function opened({ prompt, answer, rationale, judge, score, verdict }) {
  const isWhole = prompt.length <= SHOWN_IN_ROW && !prompt.includes("\n");
  const said = `${judge || "nobody"}${score === null ? "" : `, score ${score}`}`;
  return [
    ...(isWhole ? [] : labelled("Prompt", prompt)),
    ...labelled("Answer", answer),
    ...labelled(`Verdict ${verdict}, by ${said}`, rationale),
  ];
}

browse("cases", cases, { fits, tell, draw });
