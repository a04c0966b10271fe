/** The conversation of this tab. It lives in sessionStorage: a reload keeps it, closing the tab forgets it. */

const KEY = "pacos-conversation";

export class Conversation {
  constructor() {
    this.turns = [];
    try {
      this.turns = JSON.parse(sessionStorage.getItem(KEY)) ?? [];
    } catch {
      // Storage may be blocked or hold something else; then the page begins empty.
    }
  }

  /** A turn is {role: "user", content} or {role: "assistant", content, blocks, note, problem, refused, cut}. */
  add(turn) {
    this.turns.push(turn);
    this.save();
    return turn;
  }

  removeLast() {
    this.turns.pop();
    this.save();
  }

  clear() {
    this.turns = [];
    this.save();
  }

  save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.turns));
    } catch {
      // Full or blocked: the page still works, a reload will not bring the conversation back.
    }
  }

  /** What is sent or reported: question and answer pairs up to `end`, without questions that got no answer. */
  messages(end = this.turns.length) {
    const turns = this.turns.slice(0, end);
    return turns
      .filter((turn, i) => turn.content && (turn.role === "assistant" || i === turns.length - 1 || turns[i + 1].content))
      .map(({ role, content }) => ({ role, content }));
  }
}
