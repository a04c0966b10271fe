/** Light, dark or as the system has it; kept in this browser. No module: it has to run before the first paint. */
(() => {
  const KEY = "pacos-theme";
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;
  let theme = "system";
  try {
    if (THEMES.includes(localStorage.getItem(KEY))) theme = localStorage.getItem(KEY);
  } catch {
    // Storage may be blocked; then a choice lasts as long as the page.
  }

  function apply() {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
      meta.content = meta.dataset[theme === "system" ? meta.dataset.own : theme];
    }
  }

  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => button.setAttribute("aria-label", (button.title = `Colours: ${theme}`));
    label();
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      apply();
      label();
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // As above.
      }
    });
  });
})();
