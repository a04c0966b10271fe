/** The chat page: one conversation, one answer at a time. */

import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { ReportDialog } from "./report.js";
import { answerEvents, Problem } from "./stream.js";
import { AnswerView, questionView } from "./views.js";

const log = document.getElementById("log");
const welcome = document.getElementById("welcome");
const newButton = document.getElementById("new");
const status = document.getElementById("status");
const takesConversation = document.getElementById("main").dataset.conversation === "yes";

const conversation = new Conversation();
const reportDialog = new ReportDialog();
const composer = new Composer({ onSend: ask, onStop: stop });
let running = null;

function ask(text) {
  show(conversation.add({ role: "user", content: text }));
  answer();
}

function stop() {
  running?.abort();
}

async function answer() {
  const messages = conversation.messages();
  const turn = conversation.add({ role: "assistant", content: "", blocks: [] });
  const view = show(turn);
  running = new AbortController();
  composer.setBusy(true);
  scrollToEnd();
  try {
    for await (const event of answerEvents(takesConversation ? messages : messages.slice(-1), running.signal)) {
      const follow = isAtEnd();
      if (event.type === "piece") view.show(event);
      else {
        turn.note = describe(event);
        turn.refused = event.finish_reason === "content_filter";
        turn.cut = event.finish_reason === "length";
      }
      conversation.save();
      if (follow) scrollToEnd();
    }
    if (!turn.content) turn.problem = "The model gave an empty answer. Regenerate to try once more.";
  } catch (error) {
    if (error.name === "AbortError") turn.note = "Stopped";
    else turn.problem = explain(error);
    turn.refused = error.code === "content_filter";
  }
  running = null;
  conversation.save();
  const follow = isAtEnd();
  view.finish();
  if (follow) scrollToEnd();
  composer.setBusy(false);
  status.textContent = turn.problem ?? (turn.note === "Stopped" ? "Stopped" : "Answer finished");
}

function explain(error) {
  if (!(error instanceof Problem)) {
    console.error(error);
    return "The page failed to show this answer. Reload it and try again.";
  }
  if (error.code === "terms_not_accepted") return "The terms of use have changed. Reload the page to read and accept them.";
  return error.message;
}

function describe({ watermarked, completion_tokens: tokens, seconds, finish_reason: reason }) {
  const parts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`, `${seconds.toFixed(1)} s`];
  if (watermarked) parts.unshift("Watermarked");
  if (reason === "length") parts.push("cut at the length limit");
  if (reason === "content_filter") parts.push("withheld by the filter");
  return parts.join(" · ");
}

function regenerate() {
  if (running) return;
  conversation.removeLast();
  log.lastElementChild.remove();
  answer();
  document.getElementById("stop").focus();
}

function report(turn) {
  const end = conversation.turns.indexOf(turn) + 1;
  // A refusal is no answer of the model's, yet the question and what was said to it are what the report is about.
  const transcript = turn.content
    ? conversation.messages(end)
    : [...conversation.messages(end - 1), { role: "assistant", content: turn.problem }];
  reportDialog.open(transcript, Boolean(turn.refused), (id, code) => {
    const told = `Reported, number ${id}. To delete the report, give the code ${code} at /reports/delete.`;
    turn.note = [turn.note, told].filter(Boolean).join(" · ");
    conversation.save();
    log.children[end - 1].querySelector(".note").textContent = turn.note;
    status.textContent = `Thank you. Your report has the number ${id}.`;
  });
}

function show(turn) {
  welcome.hidden = true;
  newButton.hidden = false;
  const view = turn.role === "user" ? questionView(turn) : new AnswerView(turn, { regenerate, report });
  log.append(view.element ?? view);
  return view;
}

function isAtEnd() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}

function scrollToEnd() {
  window.scrollTo(0, document.documentElement.scrollHeight);
}

function restore() {
  log.setAttribute("aria-live", "off");
  for (const turn of conversation.turns) {
    const view = show(turn);
    if (turn.role === "assistant") {
      // The page was left in the middle of this answer.
      if (!turn.note && !turn.problem) turn.note = "Stopped";
      view.restore();
    }
  }
  if (conversation.turns.length) scrollToEnd();
  // What was read before the reload is not read again; what comes now is.
  requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
}

newButton.addEventListener("click", () => {
  stop();
  conversation.clear();
  log.replaceChildren();
  welcome.hidden = false;
  newButton.hidden = true;
  composer.box.focus();
});
for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => {
    if (!running) ask(button.querySelector(".example-text").textContent);
  });
}
restore();
