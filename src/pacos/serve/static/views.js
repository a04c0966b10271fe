/** What a turn looks like. All HTML in here was made and sanitised by the server; all other text goes in as text. */

import { copyText } from "./dialogs.js";

const MARKS = {
  watermarked: ["Watermarked", "This server's detector finds the mark in this answer."],
  "insufficient text": ["Too short to detect", "The answer was marked, but in so few words no detector can find it."],
  "no watermark found": [
    "Mark not detectable",
    "The answer was marked, but the model had so little choice of words that no detector can find it.",
  ],
};

function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** The switch between versions of a turn; hidden where there is one. */
function showVersions(element, { at, count }, turnTo) {
  const group = element.querySelector(".versions");
  group.hidden = count < 2;
  group.querySelector(".place").textContent = `${at + 1}/${count}`;
  group.setAttribute("aria-label", `Version ${at + 1} of ${count}`);
  for (const [name, step] of [["previous", -1], ["next", 1]]) {
    const button = group.querySelector(`.${name}`);
    button.disabled = at + step < 0 || at + step >= count;
    button.addEventListener("click", () => turnTo(at + step, name));
  }
}

export class QuestionView {
  constructor(turn, versions, actions) {
    this.element = fromTemplate("question-template");
    const find = (selector) => this.element.querySelector(selector);
    const [said, editor, box, edit] = [".said", ".editor", ".editor textarea", ".edit"].map(find);
    said.textContent = turn.content;
    showVersions(this.element, versions, actions.turnTo);
    const setEditing = (isEditing) => {
      editor.hidden = !isEditing;
      said.hidden = find(".actions").hidden = isEditing;
      this.element.classList.toggle("editing", isEditing);
      (isEditing ? box : edit).focus();
    };
    edit.addEventListener("click", () => {
      box.value = turn.content;
      setEditing(true);
      box.style.height = `${box.scrollHeight + 2}px`;
    });
    const send = () => {
      const text = box.value.trim();
      if (!text || !actions.edit(text)) setEditing(false);
    };
    find(".cancel").addEventListener("click", () => setEditing(false));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") setEditing(false);
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    editor.addEventListener("submit", (event) => {
      event.preventDefault();
      send();
    });
  }

  end() {}
}

/** The text of one answer with what stands under it. */
class Body {
  constructor(element, answer, actions) {
    this.answer = answer;
    this.element = element;
    const find = (selector) => element.querySelector(selector);
    this.prose = find(".prose");
    this.waiting = find(".waiting");
    this.problem = find(".problem");
    this.footer = find("footer");
    this.note = find(".note");
    this.copy = find(".copy");
    this.report = find(".report-this");
    const label = this.copy.title;
    this.copy.addEventListener("click", () => copyText(answer.content, this.copy, label));
    this.report.addEventListener("click", () => actions.report(answer));
    this.put(answer.blocks.entries());
  }

  begin() {
    this.waiting.hidden = false;
    this.footer.hidden = this.problem.hidden = true;
    this.prose.classList.remove("cut");
  }

  /** Puts changed blocks in place. They are silent, or a whole block would be read again at each sentence. */
  show({ text, blocks, count, seal }) {
    this.put(blocks);
    for (const [index, html] of blocks) this.answer.blocks[index] = html;
    this.answer.blocks.length = count;
    while (this.prose.children.length > count) this.prose.lastElementChild.remove();
    this.answer.content += text;
    this.answer.seal = seal;
  }

  put(blocks) {
    for (const [index, html] of blocks) {
      if (!this.prose.children[index]) this.prose.append(document.createElement("div"));
      this.prose.children[index].innerHTML = html;
    }
  }

  end(hidesFigures = false) {
    const { answer } = this;
    this.waiting.hidden = true;
    this.footer.hidden = false;
    showNote(this.note, answer, hidesFigures);
    this.copy.hidden = !answer.content;
    this.report.hidden = !answer.content && !answer.refused;
    this.prose.classList.toggle("cut", Boolean(answer.cut));
    this.problem.textContent = answer.problem ?? "";
    this.problem.hidden = !answer.problem;
    for (const pre of this.prose.querySelectorAll("pre")) addCopyButton(pre);
  }
}

function addCopyButton(pre) {
  if (pre.parentElement.classList.contains("code")) return;
  const frame = Object.assign(document.createElement("div"), { className: "code" });
  const button = Object.assign(document.createElement("button"), { className: "quiet copy-code", type: "button" });
  button.append(Object.assign(document.createElement("span"), { textContent: "Copy" }));
  button.setAttribute("aria-label", "Copy code");
  button.addEventListener("click", () => copyText(pre.textContent, button, "Copy"));
  pre.replaceWith(frame);
  frame.append(pre, button);
}

function showNote(note, answer, hidesFigures) {
  const { tokens, seconds, firstSeconds, writingSeconds } = answer.figures ?? {};
  const parts = [];
  if (tokens !== undefined && !hidesFigures) {
    parts.push(`${tokens} ${tokens === 1 ? "token" : "tokens"}`, `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`);
    if (tokens > 1 && writingSeconds > 0.05) parts.push(`${(tokens / writingSeconds).toFixed(1)} tokens/s`);
    parts.push(`first token ${Math.round(1000 * firstSeconds)} ms`);
  }
  if (answer.isStopped) parts.push("Stopped");
  else if (answer.cut) parts.push("cut at the length limit");
  if (answer.withheld) parts.push("withheld by the filter");
  if (answer.report) parts.push(`Reported, number ${answer.report}. To delete the report, give the code ${answer.reportCode} at /reports/delete.`);
  note.textContent = parts.join(" · ");
  const mark = MARKS[answer.mark];
  if (!mark) return;
  note.prepend(Object.assign(document.createElement("span"), { className: "badge", textContent: mark[0], title: mark[1] }));
}

export class AnswerView {
  constructor(turn, versions, actions) {
    this.turn = turn;
    this.element = fromTemplate("answer-template");
    this.bodies = [new Body(this.element, turn, actions)];
    const find = (selector) => this.element.querySelector(selector);
    this.buttons = { regenerate: find(".regenerate"), share: find(".share"), goOn: find(".continue") };
    this.buttons.regenerate.addEventListener("click", () => actions.regenerate());
    this.buttons.share.addEventListener("click", () => actions.share());
    this.buttons.goOn.addEventListener("click", () => actions.goOn(this));
    showVersions(this.element, versions, actions.turnTo);
  }

  end() {
    const { turn, buttons } = this;
    this.bodies[0].end();
    // The same question is refused again.
    buttons.regenerate.hidden = Boolean(turn.refused) && !turn.content;
    buttons.share.hidden = !turn.content || !turn.seal;
    buttons.goOn.hidden = !turn.cut || !turn.seal || Boolean(turn.problem);
  }
}

export class PairView {
  constructor(turn, versions, actions) {
    this.turn = turn;
    this.element = fromTemplate("pair-template");
    const find = (selector) => this.element.querySelector(selector);
    this.sides = [...this.element.querySelectorAll(".side")];
    this.bodies = this.sides.map((side, i) => new Body(side, turn.sides[i], actions));
    [this.form, this.outcome, this.problem, this.actions] = [".vote", ".outcome", ".vote-problem", ".last"].map(find);
    find(".regenerate").addEventListener("click", () => actions.regenerate());
    showVersions(this.element, versions, actions.turnTo);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      actions.vote(this, event.submitter.value, this.form.elements.consent.checked);
    });
    this.name();
  }

  /** Writes the models' names over their answers, as far as they may be known. */
  name() {
    this.sides.forEach((side, i) => {
      const letter = "AB"[i];
      const name = this.turn.names?.[i];
      side.querySelector(".side-name").textContent = name ? `${letter} · ${name}` : letter;
      side.setAttribute("aria-label", `Answer ${letter}${name ? ` by ${name}` : ""}`);
      side.classList.toggle("chosen", this.turn.choice === letter.toLowerCase());
    });
  }

  end() {
    const { turn } = this;
    // How fast an answer came would tell whose it is.
    for (const body of this.bodies) body.end(!turn.names);
    this.actions.hidden = false;
    this.form.hidden = Boolean(turn.choice) || !turn.vote || turn.sides.some((side) => !side.content);
    this.outcome.hidden = !turn.choice;
    const won = { a: "You chose A", b: "You chose B", tie: "You found both alike", bad: "You found both bad" };
    if (turn.choice) this.outcome.textContent = `${won[turn.choice]}. A is ${turn.names[0]}, B is ${turn.names[1]}.`;
    this.name();
  }
}
