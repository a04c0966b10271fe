// Sends the text to the detector and shows what was found, word by word.
const byId = (id) => document.getElementById(id);
const form = byId("detect");
const look = byId("look");

const HEADLINES = {
  "watermarked": "This text carries the mark",
  "no watermark found": "No mark was found",
  "insufficient text": "Too little text to tell",
};

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  look.disabled = true;
  byId("problem").hidden = true;
  byId("status").textContent = "Looking for the mark";
  try {
    const response = await fetch("/detect", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: byId("text").value }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    show(answer);
  } catch (error) {
    byId("finding").hidden = true;
    byId("problem").textContent = error instanceof TypeError ? "The server cannot be reached. Please try again." : error.message;
    byId("problem").hidden = false;
  } finally {
    byId("status").textContent = "";
    look.disabled = false;
  }
});

function show(finding) {
  byId("verdict").textContent = HEADLINES[finding.verdict];
  byId("meaning").textContent = meaning(finding);
  const share = finding.scored ? Math.round((100 * finding.green) / finding.scored) : 0;
  figures({
    "Words and word parts counted": finding.scored.toLocaleString("en"),
    "Favoured": `${finding.green.toLocaleString("en")} (${share}%)`,
    "Expected by chance": `${Math.round(100 * finding.gamma)}%`,
    "z-score": finding.z_score.toFixed(2),
    "p-value": finding.p_value < 0.001 ? finding.p_value.toExponential(1) : finding.p_value.toFixed(3),
  });
  byId("tokens").replaceChildren(...marked(finding));
  byId("passage-key").hidden = !finding.passage;
  byId("finding").classList.toggle("found", finding.verdict === "watermarked");
  byId("finding").hidden = false;
  byId("verdict").focus();
}

function meaning({ verdict, p_value, passage, max_false_alarm_rate }) {
  if (verdict === "insufficient text") return "So short a text says nothing either way. Paste more of it.";
  const often = `about 1 in ${Math.round(1 / max_false_alarm_rate).toLocaleString("en")} unmarked texts`;
  if (verdict === "watermarked") {
    const where = passage ? "One part of it, outlined below, has" : "It has";
    const odds = p_value < 1e-9 ? "less than once in a billion texts" : `once in ${Math.round(1 / p_value).toLocaleString("en")} texts`;
    return `${where} more favoured words than chance gives ${odds}. The test errs for ${often}.`;
  }
  return "That does not show that a person wrote it: other models, other servers and rewritten answers look the same.";
}

function figures(values) {
  byId("figures").replaceChildren(
    ...Object.entries(values).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
}

function marked({ tokens, passage }) {
  const nodes = [];
  // Positions count characters as Python does: a character beyond the first plane is one, not two.
  let place = 0;
  let outline = null;
  for (const { text, green } of tokens) {
    const kind = green === null ? "token" : green ? "token green" : "token red";
    // The blank before a word is the word's token too, and looks better without a line.
    const blank = text.match(/^\s*/)[0];
    const token = element("span", text.slice(blank.length), kind);
    const inside = passage && place >= passage.start && place < passage.end;
    if (inside && !outline) nodes.push((outline = element("span", "", "passage")));
    if (!inside) outline = null;
    if (outline) outline.append(blank, token);
    else nodes.push(blank, token);
    place += [...text].length;
  }
  return nodes;
}

function element(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
