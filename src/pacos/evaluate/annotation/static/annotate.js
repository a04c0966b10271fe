// Keys press the page's buttons; a vote loads the next item. Without this script everything works by mouse.
const SETTLE_MS = 300; // A key meant for the last item must not vote on this one.
const shownAt = performance.now();
const comment = document.getElementById("comment");
const note = document.getElementById("note");
let isSent = false;

function rate(level) {
  // The answer in focus of attention is the first one without a level.
  for (const side of ["first", "second"]) {
    const radios = [...document.querySelectorAll(`input[name=${side}]`)];
    if (radios.length && !radios.some((radio) => radio.checked)) {
      const radio = radios.find((each) => each.value === level);
      radio.checked = true;
      radio.dispatchEvent(new Event("change", { bubbles: true }));
      return true;
    }
  }
  return false;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target === comment) {
    if (event.key === "Escape") comment.blur();
    return;
  }
  const key = event.key.toLowerCase();
  // Enter on a button or link is that button's own.
  if (key === "enter" && event.target.closest("button, a, summary")) return;
  if (event.repeat || performance.now() - shownAt < SETTLE_MS) return;
  if (key === "n" && note) {
    event.preventDefault();
    note.open = true;
    comment.focus();
  } else if ("abcd".includes(key) && rate(key.toUpperCase())) {
    event.preventDefault();
  } else {
    const button = document.querySelector(`[data-key="${CSS.escape(key)}"]:enabled`);
    if (button) {
      event.preventDefault();
      button.click();
    }
  }
});

// Both answers rated by key: on to the next. By mouse, Save is pressed, since a slip is easier there.
document.addEventListener("change", (event) => {
  const ballot = document.getElementById("ballot");
  if (!event.isTrusted && event.target.name === "second" && ballot.checkValidity()) ballot.requestSubmit();
});

document.addEventListener("submit", (event) => {
  if (isSent) event.preventDefault();
  isSent = true;
});

// A page that comes back from the browser's memory shows what is no longer next.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
