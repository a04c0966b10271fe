/** The conversations of this tab, as a tree: an edited question or a regenerated answer is a further branch, and the
 * path through the chosen ones is what is shown. It lives in sessionStorage: a reload keeps it, closing the tab
 * forgets it. */

const KEY = "pacos-conversation-2";
const SAVE_AFTER_MS = 400;

export class Conversation {
  constructor() {
    this.root = { children: [], at: 0 };
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY));
      if (Array.isArray(kept?.children)) this.root = kept;
    } catch {
      // Storage may be blocked or hold something else; then the page begins empty.
    }
    // While an answer streams it is saved now and then, and at the latest here. The connection that breaks as the page
    // is left is no fault to be remembered.
    window.addEventListener("pagehide", () => {
      this.save();
      this.isLeft = true;
    });
    window.addEventListener("pageshow", () => (this.isLeft = false));
  }

  /** A turn is {role: "user", content}, an answer {role: "assistant", content, blocks, …}, or
   * {role: "pair", sides: [answer, answer], …}; each with its children. */
  path() {
    const turns = [];
    for (let turn = this.root; turn.children.length; ) {
      turn = turn.children[turn.at];
      turns.push(turn);
    }
    return turns;
  }

  /** Puts a turn at this place of the path, as a version beside what stands there. */
  branch(place, turn) {
    const parent = this.parent(place);
    parent.at = parent.children.push({ ...turn, children: [], at: 0 }) - 1;
    this.save();
    return parent.children[parent.at];
  }

  versions(place) {
    const { at, children } = this.parent(place);
    return { at, count: children.length };
  }

  turnTo(place, at) {
    this.parent(place).at = at;
    this.save();
  }

  parent(place) {
    return place ? this.path()[place - 1] : this.root;
  }

  clear() {
    this.root = { children: [], at: 0 };
    this.save();
  }

  save() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.isLeft) return;
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.root));
    } catch {
      // Full or blocked: the page still works, a reload will not bring the conversation back.
    }
  }

  saveSoon() {
    this.timer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  /** What is sent, shared or reported: question and answer pairs up to `end`, without questions that got no answer. */
  messages(end = Infinity) {
    const said = this.path()
      .slice(0, end)
      .map((turn) => ({ role: turn.role === "user" ? "user" : "assistant", ...spoken(turn) }));
    return said.filter(
      (turn, i) => turn.content && (turn.role === "assistant" || i === said.length - 1 || said[i + 1].content),
    );
  }
}

/** What a turn says; of two answers the better one, as the reader voted. */
function spoken(turn) {
  const { content, seal } = turn.role === "pair" ? turn.sides[turn.choice === "b" ? 1 : 0] : turn;
  return seal ? { content, seal } : { content };
}

export function newAnswer() {
  return { role: "assistant", content: "", blocks: [] };
}
