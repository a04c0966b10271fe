/** Reads an answer to screen readers sentence by sentence, however small the pieces are in which it comes. */

const SENTENCE = /[.!?…][)\]"'”’*_`]*\s+|[。！？]|\n+/g;

export class Speech {
  constructor() {
    this.line = document.getElementById("spoken");
    this.open = "";
  }

  add(text) {
    this.open += text;
    let end = 0;
    for (const match of this.open.matchAll(SENTENCE)) end = match.index + match[0].length;
    this.say(this.open.slice(0, end));
    this.open = this.open.slice(end);
  }

  /** Says what is left. It is taken off the page when the next answer begins, so that it can be read out till then. */
  end() {
    this.say(this.open);
    this.open = "";
  }

  clear() {
    this.open = "";
    this.line.replaceChildren();
  }

  say(text) {
    if (text.trim()) this.line.append(Object.assign(document.createElement("span"), { textContent: text }));
  }
}
