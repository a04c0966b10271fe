/** Rows of one block of JSON: filtered, drawn a few at a time, moved through by keys. No text ever becomes markup. */

const SHOWN_IN_ROW = 300;

/** An element with text and children; `attributes` are set as they are. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function labelled(label, value) {
  return [make("p", { class: "label" }, label), text(value)];
}

function text(value) {
  const isEmpty = !value.trim();
  return make("div", { class: isEmpty ? "text empty" : "text", dir: "auto" }, isEmpty ? "empty" : value);
}

/** One row: what stands in it closed, and `fill`, which makes the rest when it is first opened. */
function row(outcome, label, asked, notes, fill) {
  const summary = make(
    "summary", {},
    make("span", { class: `outcome ${outcome}` }, label),
    make("span", { class: "asked", dir: "auto" }, asked.slice(0, SHOWN_IN_ROW)),
    make("small", {}, notes.filter(Boolean).join(" · ")),
  );
  const details = make("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (!details.open || details.dataset.filled) return;
    details.dataset.filled = "yes";
    details.append(make("div", { class: "opened" }, ...fill()));
  });
  return make("li", {}, details);
}

/**
 * The browser of the section `id`: `all` its rows, `fits(one, wanted)` whether one is found by the form's values, `tell`
 * the line above the list, `draw(one, wanted)` its row.
 */
function browse(id, all, { fits, tell, draw }) {
  const [section, form, list, status, more] = ["", "-filter", "-list", "-status", "-more"].map((part) =>
    document.getElementById(id + part));
  const DRAWN_AT_ONCE = 30;
  let found = [];
  let drawn = 0;

  const values = () => Object.fromEntries(new FormData(form));

  function apply() {
    const wanted = values();
    wanted.text = wanted.text.trim().toLowerCase();
    found = all.filter((one) => fits(one, wanted));
    status.textContent = `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} ${tell(found, wanted)}`;
    drawn = 0;
    list.replaceChildren();
    drawMore();
  }

  function drawMore() {
    const wanted = values();
    list.append(...found.slice(drawn, drawn + DRAWN_AT_ONCE).map((one) => draw(one, wanted)));
    drawn = Math.min(drawn + DRAWN_AT_ONCE, found.length);
    more.hidden = drawn === found.length;
    more.textContent = `Show more of the other ${(found.length - drawn).toLocaleString("en")}`;
  }

  /** Moves the focus to the next or the previous row, drawing more where the end is reached. */
  function step(by) {
    if (by > 0 && drawn < found.length && list.lastElementChild?.contains(document.activeElement)) drawMore();
    const here = document.activeElement.closest("li");
    const next = list.contains(here) ? (by > 0 ? here.nextElementSibling : here.previousElementSibling) : list.firstElementChild;
    next?.querySelector("summary").focus();
  }

  section.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, select");
    if (event.key === "Escape" && event.target === form.elements.text) {
      form.reset();
      apply();
    } else if (event.key === "ArrowDown" && event.target === form.elements.text) {
      event.preventDefault();
      list.querySelector("summary")?.focus();
    } else if (event.ctrlKey || event.metaKey || event.altKey || isTyping) {
      return;
    } else if (["j", "ArrowDown", "k", "ArrowUp"].includes(event.key) && event.target.matches("summary")) {
      event.preventDefault();
      step(["j", "ArrowDown"].includes(event.key) ? 1 : -1);
    } else if (event.key === "/") {
      event.preventDefault();
      form.elements.text.focus();
    }
  });

  let waiting = 0;
  form.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(apply);
  });
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", drawMore);
  new IntersectionObserver(([entry]) => entry.isIntersecting && !more.hidden && drawMore(), { rootMargin: "400px" }).observe(more);

  /** A row of the page's tables leads to its own rows here. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-filter]");
    if (!link || link.getAttribute("href") !== `#${id}`) return;
    form.reset();
    for (const [key, value] of new URLSearchParams(link.dataset.filter)) {
      if (form.elements[key]) form.elements[key].value = value;
    }
    apply();
  });

  section.classList.add("works");
  apply();
}
