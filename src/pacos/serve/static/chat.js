/** The chat page: conversations in versions, one question under way at a time. */

import { Composer } from "./composer.js";
import { Conversation, newAnswer } from "./conversation.js";
import { ReportDialog, ShareDialog } from "./dialogs.js";
import { Settings } from "./settings.js";
import { Speech } from "./speech.js";
import { answerEvents, post, Problem } from "./stream.js";
import { AnswerView, PairView, QuestionView } from "./views.js";

const log = document.getElementById("log");
const welcome = document.getElementById("welcome");
const newButton = document.getElementById("new");
const status = document.getElementById("status");
const compare = document.getElementById("compare");
const blind = document.getElementById("blind");
const takesConversation = document.getElementById("main").dataset.conversation === "yes";
const VIEWS = { user: QuestionView, assistant: AnswerView, pair: PairView };

const conversation = new Conversation();
const reportDialog = new ReportDialog();
const shareDialog = new ShareDialog();
const settings = new Settings();
const speech = new Speech();
const composer = new Composer({ onSend: (text) => ask(conversation.path().length, text), onStop: stop });
let running = null;

/** Asks a question at this place of the path; what stands there stays as an earlier version. */
function ask(place, text) {
  if (running) return false;
  conversation.branch(place, { role: "user", content: text });
  draw(place);
  answer(place + 1);
  return true;
}

function stop() {
  running?.abort();
}

function answer(place) {
  if (running) return;
  const isPair = Boolean(compare?.checked);
  const turn = isPair ? { role: "pair", sides: [newAnswer(), newAnswer()], isBlind: blind.checked } : newAnswer();
  conversation.branch(place, turn);
  const view = draw(place);
  receive(view, conversation.messages(place), takesConversation ? Infinity : 1);
}

/** The model goes on with the answer that was cut. */
function goOn(place, view) {
  if (!running) receive(view, conversation.messages(place + 1), takesConversation ? Infinity : 2);
}

async function receive(view, messages, most) {
  const { turn } = view;
  const answers = view.bodies.map((body) => body.answer);
  const isPair = turn.role === "pair";
  for (const body of view.bodies) body.begin();
  for (const each of answers) Object.assign(each, { cut: false, isStopped: false, isWhole: false, problem: undefined });
  running = new AbortController();
  composer.setBusy(true);
  speech.clear();
  status.textContent = "";
  const scroll = isPair ? () => scrollToTop(view.element) : scrollToEnd;
  scroll();
  const question = { messages: messages.slice(-most), sampling: settings.sampling() };
  if (isPair) question.blind = turn.isBlind;
  try {
    const path = isPair ? "/comparisons" : "/chat";
    for await (const event of answerEvents(path, question, answers.length, running.signal)) {
      const follow = isAtEnd();
      if (event.type === "start") {
        Object.assign(turn, { vote: event.id, names: event.names, asked: question.messages });
        view.name();
      } else if (event.type === "piece") {
        view.bodies[event.side ?? 0].show(event);
        if (!isPair) speech.add(event.text);
      } else {
        take(answers[event.side ?? 0], event);
        if (isPair) view.bodies[event.side].end(!turn.names);
      }
      conversation.saveSoon();
      if (follow) scroll();
    }
    for (const each of answers) if (!each.content) each.problem = "The model gave an empty answer. Regenerate to try once more.";
  } catch (error) {
    for (const each of answers.filter((open) => !open.isWhole)) fail(each, error);
  }
  running = null;
  conversation.save();
  const follow = isAtEnd();
  view.end();
  speech.end();
  if (follow) scroll();
  composer.setBusy(false);
  const finished = isPair ? "Both answers finished. Vote below them." : "Answer finished";
  status.textContent = answers.find((each) => each.problem)?.problem ?? (answers[0].isStopped ? "Stopped" : finished);
}

function take(answer, { finish_reason: reason, completion_tokens: tokens, seconds, first_token_seconds: first, mark }) {
  const before = answer.figures ?? { tokens: 0, seconds: 0, writingSeconds: 0, firstSeconds: first };
  answer.figures = {
    tokens: before.tokens + tokens,
    seconds: before.seconds + seconds,
    writingSeconds: before.writingSeconds + seconds - first,
    firstSeconds: before.firstSeconds,
  };
  answer.mark = mark;
  answer.isWhole = true;
  answer.cut = reason === "length";
  answer.withheld = answer.refused = reason === "content_filter";
}

function fail(answer, error) {
  if (error.name === "AbortError") {
    answer.isStopped = true;
    answer.cut = Boolean(answer.content);
  } else answer.problem = explain(error);
  answer.refused = error.code === "content_filter";
}

function explain(error) {
  if (!(error instanceof Problem)) {
    console.error(error);
    return "The page failed to show this answer. Reload it and try again.";
  }
  if (error.code === "terms_not_accepted") return "The terms of use have changed. Reload the page to read and accept them.";
  return error.message;
}

function regenerate(place) {
  if (running) return;
  answer(place);
  document.getElementById("stop").focus();
}

function report(place, told) {
  const turn = conversation.path()[place];
  // A refusal is no answer of the model's, yet the question and what was said to it are what the report is about.
  const last = { role: "assistant", content: told.content || told.problem, seal: told.seal };
  const transcript = [...conversation.messages(place).map(({ role, content }) => ({ role, content })), last];
  const about = turn.role === "pair" ? { comparison: turn.vote, side: turn.sides.indexOf(told) } : {};
  const onSent = (id, code) => {
    Object.assign(told, { report: id, reportCode: code });
    conversation.save();
    draw(place, true);
    status.textContent = `Thank you. Your report has the number ${id}.`;
  };
  reportDialog.open({ transcript, isRefusal: Boolean(told.refused), about, onSent });
}

async function vote(view, choice, consent) {
  const { turn, problem } = view;
  const answers = turn.sides.map(({ content, seal }) => ({ role: "assistant", content, seal }));
  const texts = consent ? { messages: turn.asked, answers } : {};
  problem.hidden = true;
  try {
    const { names } = await (await post(`/comparisons/${turn.vote}/vote`, { choice, consent, ...texts })).json();
    Object.assign(turn, { names, choice });
    conversation.save();
    view.end();
    status.textContent = view.outcome.textContent;
    composer.box.focus();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

function turnTo(place, at, direction) {
  if (running) return;
  conversation.turnTo(place, at);
  const buttons = draw(place).element.querySelector(".versions");
  const same = buttons.querySelector(`.${direction}`);
  // At the last version the button that was pressed is off, and the focus would fall to the page's top.
  (same.disabled ? buttons.querySelector("button:enabled") : same).focus();
}

/** Draws the path anew from this place on; returns the view of the turn there. */
function draw(place, keepsFocus = false) {
  const turns = conversation.path();
  while (log.children.length > place) log.lastElementChild.remove();
  const views = turns.slice(place).map((turn, i) => makeView(turn, place + i));
  log.append(...views.map((view) => view.element));
  for (const view of views) view.end();
  if (keepsFocus) views[0].element.querySelector(".report-this").focus();
  welcome.hidden = turns.length > 0;
  newButton.hidden = turns.length === 0;
  return views[0];
}

function makeView(turn, place) {
  return new VIEWS[turn.role](turn, conversation.versions(place), {
    edit: (text) => ask(place, text),
    regenerate: () => regenerate(place),
    goOn: (view) => goOn(place, view),
    share: () => shareDialog.open(conversation.messages(place + 1)),
    report: (told) => report(place, told),
    turnTo: (at, direction) => turnTo(place, at, direction),
    vote,
  });
}

function isAtEnd() {
  const page = document.documentElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < 80;
}

function scrollToEnd() {
  window.scrollTo(0, document.documentElement.scrollHeight);
}

/** As far down as the beginning of two answers stays in sight, with their question where it is short. */
function scrollToTop(pair) {
  const question = pair.previousElementSibling;
  const first = question.offsetHeight < window.innerHeight / 3 ? question : pair;
  const below = first.getBoundingClientRect().top - document.querySelector(".bar").offsetHeight - 16;
  if (below > 0) window.scrollBy(0, below);
}

function restore() {
  log.setAttribute("aria-live", "off");
  for (const turn of conversation.path()) {
    // The page was left in the middle of this answer.
    for (const told of turn.sides ?? (turn.role === "assistant" ? [turn] : [])) {
      if (!told.isWhole && !told.problem) fail(told, { name: "AbortError" });
    }
  }
  if (conversation.path().length) {
    draw(0);
    scrollToEnd();
  }
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
  button.addEventListener("click", () => ask(conversation.path().length, button.querySelector(".example-text").textContent));
}
compare?.addEventListener("change", () => {
  document.getElementById("blind-toggle").hidden = !compare.checked;
});
restore();
