/** The message box: grows with its text, Enter sends, Shift+Enter begins a new line, Stop stands where Send stood. */

export class Composer {
  constructor({ onSend, onStop }) {
    this.form = document.getElementById("composer");
    this.box = document.getElementById("question");
    this.sendButton = document.getElementById("send");
    this.stopButton = document.getElementById("stop");
    this.busy = false;
    this.onSend = onSend;
    this.box.addEventListener("input", () => this.refresh());
    this.box.addEventListener("keydown", (event) => {
      // An Enter that ends the composing of a Chinese or Japanese word is not meant to send.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.stopButton.addEventListener("click", onStop);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.busy && !document.querySelector("dialog[open]")) onStop();
    });
    // Read-only until here: an Enter typed before this script had come would be lost.
    this.box.readOnly = false;
    this.refresh();
  }

  send() {
    const text = this.box.value.trim();
    if (!text || this.busy) return;
    this.box.value = "";
    this.refresh();
    this.onSend(text);
  }

  setBusy(busy) {
    const hadFocus = [this.sendButton, this.stopButton].includes(document.activeElement);
    this.busy = busy;
    this.sendButton.hidden = busy;
    this.stopButton.hidden = !busy;
    this.refresh();
    // A hidden button drops the focus to the page's top, which loses a keyboard user.
    if (hadFocus) (busy ? this.stopButton : this.box).focus();
  }

  refresh() {
    this.sendButton.disabled = !this.box.value.trim();
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
  }
}
