/** The sampling panel. What differs from the model's own settings is kept for this tab and marked on its button. */

const KEY = "pacos-sampling";

export class Settings {
  constructor() {
    this.dialog = document.getElementById("settings");
    this.form = document.getElementById("settings-form");
    this.button = document.getElementById("open-settings");
    this.fields = [...this.form.querySelectorAll("input")];
    let kept = {};
    try {
      kept = JSON.parse(sessionStorage.getItem(KEY)) ?? {};
    } catch {
      // Storage may be blocked.
    }
    for (const field of this.fields) {
      field.value = kept[field.name] ?? field.defaultValue;
      if (!field.validity.valid) field.value = field.defaultValue;
    }
    this.button.addEventListener("click", () => this.dialog.showModal());
    document.getElementById("settings-reset").addEventListener("click", () => {
      for (const field of this.fields) field.value = field.defaultValue;
      this.fields[0].focus();
    });
    // However the panel was closed, only what can be used stays.
    this.dialog.addEventListener("close", () => this.keep());
    this.keep();
  }

  keep() {
    for (const field of this.fields) if (!field.validity.valid) field.value = field.defaultValue;
    const changed = this.fields.filter((field) => field.value !== field.defaultValue);
    this.button.classList.toggle("changed", changed.length > 0);
    this.button.setAttribute("aria-label", changed.length ? "Settings, changed" : "Settings");
    try {
      sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(changed.map(({ name, value }) => [name, value]))));
    } catch {
      // As above.
    }
  }

  /** What is to be sent; null where all is as the model has it. */
  sampling() {
    if (this.fields.every((field) => field.value === field.defaultValue)) return null;
    return Object.fromEntries(this.fields.map(({ name, value }) => [name, value === "" ? null : Number(value)]));
  }
}
