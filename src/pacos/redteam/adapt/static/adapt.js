// Keys press the page's buttons. The server renders everything; this fetches the page again and puts its work area in
// place of the old one, so that dialogs, which lie outside of it, are never disturbed.
const BUSY_MS = 700;
const IDLE_MS = 2000;
const told = document.getElementById("told");
const bar = document.getElementById("progress");
const refused = document.getElementById("refused");
// One action after the other: a key pressed at once after another acts on what that one left.
let turn = Promise.resolve();
let acting = 0;
let isOpening = false;
// What was chosen while an answer of the server was on its way stays chosen.
let choices = 0;

const work = () => document.getElementById("work");
const current = () => document.querySelector(".test.current");
const address = () => new URL(location.href);

function then(act) {
  turn = turn.then(act).catch((error) => say(error.message));
  return turn;
}

/** A person's own action, after which there may be something to watch. */
function act(post) {
  acting += 1;
  then(post).then(() => (acting -= 1));
  then(watch);
}

function say(problem) {
  refused.textContent = problem;
  refused.hidden = !problem;
}

function show(html, url, since) {
  const chosen = choices === since ? null : current()?.id;
  const page = new DOMParser().parseFromString(html, "text/html");
  const fresh = page.getElementById("work");
  if (!fresh) throw new Error("The server answered with another page; please reload.");
  const at = document.activeElement;
  const inside = work().contains(at);
  const focus = inside ? { id: at.id, key: at.dataset.key, test: at.closest(".test")?.id } : null;
  const scrolled = document.querySelector(".topics").scrollTop;
  work().replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  document.querySelector(".topics").scrollTop = scrolled;
  if (url !== location.href) history.replaceState(null, "", url);
  if (chosen) mark(document.getElementById(chosen));
  if (!focus) return;
  const again = focus.test
    ? current()?.querySelector(".prompt")
    : focus.key
      ? document.querySelector(`.dock [data-key="${focus.key}"]`)
      : document.getElementById(focus.id);
  again?.focus({ preventScroll: !focus.test });
}

async function load(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error?.message ?? `The server answered ${response.status}.`);
  }
  return response;
}

async function go(url) {
  const since = choices;
  const response = await load(url);
  show(await response.text(), url, since);
}

async function post(form, submitter) {
  const body = new URLSearchParams(new FormData(form));
  const since = choices;
  const action = submitter?.getAttribute("formaction") ?? form.getAttribute("action");
  const response = await load(action, { method: "POST", body });
  say("");
  show(await response.text(), response.url, since);
  reveal();
}

function reveal() {
  current()?.scrollIntoView({ block: "nearest" });
}

function mark(test) {
  if (!test) return;
  current()?.querySelector(".prompt").removeAttribute("aria-current");
  current()?.classList.remove("current");
  test.classList.add("current");
  const link = test.querySelector(".prompt");
  link.setAttribute("aria-current", "true");
  for (const input of document.querySelectorAll("#work input[name=test]")) input.value = test.dataset.id;
  const url = address();
  url.searchParams.set("test", test.dataset.id);
  history.replaceState(null, "", url);
}

function choose(test) {
  if (!test) return;
  choices += 1;
  mark(test);
  test.querySelector(".prompt").focus({ preventScroll: true });
  reveal();
}

function step(by) {
  const tests = [...document.querySelectorAll(".test")];
  choose(tests[Math.min(tests.length - 1, Math.max(0, tests.indexOf(current()) + by))]);
}

function stepTopic(by) {
  const topics = [...document.querySelectorAll(".topics a")];
  const at = topics.findIndex((each) => each.getAttribute("aria-current"));
  const next = topics[at + by];
  if (next) then(() => go(next.href)).then(() => document.querySelector(".topics [aria-current]")?.scrollIntoView({ block: "nearest" }));
}

function open(name) {
  const dialog = document.getElementById(name);
  const form = dialog.querySelector("form");
  form?.reset();
  for (const problem of dialog.querySelectorAll(".problem")) problem.hidden = true;
  const topic = address().searchParams.get("topic") ?? document.querySelector(".topics [aria-current]")?.dataset.topic ?? "";
  if (name === "edit") {
    const test = current();
    form.elements.prompt.value = test.querySelector(".prompt").textContent;
    form.elements.new_topic.value = test.dataset.topic;
    form.elements.note.value = test.dataset.note;
    form.dataset.test = test.dataset.id;
  } else if (name === "add") {
    form.elements.new_topic.value = topic || current()?.dataset.topic || "";
  } else if (name === "topic" && topic) {
    form.elements.new_topic.value = `${topic}/`;
  }
  dialog.showModal();
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const { target: form, submitter } = event;
  const dialog = form.closest("dialog");
  if (dialog) {
    // Where the dialog was opened, which may not be where the page is by now.
    for (const [name, value] of [["topic", address().searchParams.get("topic") ?? ""], ["test", form.dataset.test ?? ""]]) {
      const input = form.querySelector(`input[name=${name}]`) ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name }));
      input.value = value;
    }
    const problem = form.querySelector(".problem");
    act(async () => {
      try {
        await post(form, submitter);
        dialog.close();
        current()?.querySelector(".prompt").focus();
      } catch (error) {
        // What is behind an open dialog is out of reach.
        problem.textContent = error.message;
        problem.hidden = false;
      }
    });
  } else {
    act(() => post(form, submitter));
  }
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) open(opener.dataset.opens);
  event.target.closest("[data-closes]")?.closest("dialog").close();
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const test = event.target.closest(".test");
  if (test && !getSelection().toString()) {
    event.preventDefault();
    choose(test);
  }
  const topic = event.target.closest(".topics a");
  if (topic) {
    event.preventDefault();
    then(() => go(topic.href));
  }
});

addEventListener("keydown", (event) => {
  const dialog = event.target.closest?.("dialog");
  if (dialog) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) dialog.querySelector("form")?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const moves = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
  if (key in moves) {
    event.preventDefault();
    // From where an action under way will leave us.
    if (acting) then(() => step(moves[key]));
    else step(moves[key]);
  } else if (key === "ArrowLeft" || key === "ArrowRight") {
    event.preventDefault();
    stepTopic(key === "ArrowLeft" ? -1 : 1);
  } else if (!event.repeat) {
    const find = () => document.querySelector(`[data-key="${CSS.escape(key)}"]:enabled`);
    const button = find();
    if (!button) return;
    event.preventDefault();
    if (isOpening) return;
    if (button.type === "submit") {
      // Pressed when its turn comes: the action before may leave another test, or none.
      act(() => find() && post(find().form, find()));
    } else if (acting && button.dataset.opens === "edit") {
      // What is typed meanwhile is meant for the dialog, and presses nothing.
      isOpening = true;
      then(() => find()?.click()).then(() => (isOpening = false));
    } else {
      button.click();
    }
  }
});

let timer = 0;

async function watch() {
  clearTimeout(timer);
  let wait = IDLE_MS;
  try {
    const state = await (await load("/state")).json();
    const waiting = state.waiting ? `, ${state.waiting} more to do` : "";
    const line = state.doing ? `${state.doing}: ${state.done} of ${state.total} answered${waiting}` : state.said;
    // Said again and again, it would be read out again and again.
    if (told.textContent !== line) told.textContent = line;
    bar.hidden = !state.doing;
    if (state.total) {
      bar.max = state.total;
      bar.value = state.done;
    } else {
      bar.removeAttribute("value");
    }
    if (state.doing || state.waiting) wait = BUSY_MS;
    if (state.version !== work().dataset.version) {
      const url = address();
      if (current()) url.searchParams.set("test", current().dataset.id);
      await go(url.href);
    }
  } catch {
    told.textContent = "The server does not answer. Is pacos redteam adapt still running?";
  }
  timer = setTimeout(() => then(watch), wait);
}

then(watch);
