/** What a turn looks like. All HTML in here was made and sanitised by the server; all other text goes in as text. */

function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function questionView(turn) {
  const element = fromTemplate("question-template");
  element.querySelector(".said").textContent = turn.content;
  return element;
}

export class AnswerView {
  constructor(turn, actions) {
    this.turn = turn;
    this.element = fromTemplate("answer-template");
    const find = (selector) => this.element.querySelector(selector);
    this.body = find(".prose");
    this.spoken = document.getElementById("spoken");
    this.waiting = find(".waiting");
    this.problem = find(".problem");
    this.footer = find("footer");
    this.note = find(".note");
    this.copy = find(".copy");
    this.copy.addEventListener("click", () => this.copyText());
    this.regenerate = find(".regenerate");
    this.regenerate.addEventListener("click", () => actions.regenerate());
    find(".report").addEventListener("click", () => actions.report(turn));
  }

  /** Puts changed blocks in place. They are silent, or a whole block would be read again at each sentence;
   * the new text is spoken from a line beside the log instead. */
  show({ text, blocks, count }) {
    for (const [index, html] of blocks) {
      if (!this.body.children[index]) this.body.append(document.createElement("div"));
      this.body.children[index].innerHTML = html;
      this.turn.blocks[index] = html;
    }
    this.turn.blocks.length = count;
    while (this.body.children.length > count) this.body.lastElementChild.remove();
    this.turn.content += text;
    this.spoken.append(Object.assign(document.createElement("span"), { textContent: text }));
  }

  /** Ends the answer, now or as it was kept from before the reload. */
  finish() {
    const { turn } = this;
    this.waiting.remove();
    this.spoken.replaceChildren();
    this.body.removeAttribute("aria-live");
    this.note.textContent = turn.note ?? "";
    this.footer.hidden = false;
    this.copy.hidden = !turn.content;
    this.element.querySelector(".report").hidden = !turn.content && !turn.refused;
    // The same question is refused again.
    this.regenerate.hidden = Boolean(turn.refused) && !turn.content;
    this.body.classList.toggle("cut", Boolean(turn.cut));
    if (!turn.problem) return;
    this.problem.textContent = turn.problem;
    this.problem.hidden = false;
  }

  /** An answer from before the reload. */
  restore() {
    const { content, blocks } = this.turn;
    this.turn.content = "";
    this.show({ text: content, blocks: [...blocks.entries()], count: blocks.length });
    this.finish();
  }

  async copyText() {
    const label = this.copy.querySelector("span");
    try {
      await navigator.clipboard.writeText(this.turn.content);
      label.textContent = "Copied";
    } catch {
      label.textContent = "Copying is not allowed here";
    }
    setTimeout(() => (label.textContent = "Copy"), 2000);
  }
}
