/** The dialogs to report an answer and to share a conversation; what they send of it needs a ticked box. */

import { post } from "./stream.js";

export class ReportDialog {
  constructor() {
    this.dialog = document.getElementById("report");
    this.form = document.getElementById("report-form");
    this.problem = document.getElementById("report-problem");
    this.title = document.getElementById("report-title");
    this.reasons = document.getElementById("report-reasons");
    this.missing = document.getElementById("report-missing");
    this.refusal = document.getElementById("report-refusal");
    this.reasons.addEventListener("change", () => this.showMissing(false));
    this.sendButton = document.getElementById("report-send");
    document.getElementById("report-cancel").addEventListener("click", () => this.dialog.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** `transcript` ends with the reported answer; `about` names it where it is one of two; `onSent` gets the report's
   * number and the code that deletes it. */
  open({ transcript, isRefusal, about, onSent }) {
    Object.assign(this, { transcript, about, onSent });
    this.form.reset();
    this.problem.hidden = true;
    this.showMissing(false);
    this.title.textContent = isRefusal ? "Report this refusal" : "Report this answer";
    this.refusal.hidden = !isRefusal;
    this.dialog.showModal();
  }

  showMissing(isMissing) {
    this.missing.hidden = !isMissing;
    if (isMissing) this.reasons.setAttribute("aria-invalid", "true");
    else this.reasons.removeAttribute("aria-invalid");
  }

  async send() {
    const { reason, details, consent } = this.form.elements;
    if (!reason.value) {
      this.showMissing(true);
      reason[0].focus();
      return;
    }
    const report = { reason: reason.value, details: details.value.trim(), consent: consent.checked, ...this.about };
    const sent = await sending(this.sendButton, this.problem, () =>
      post("/reports", { ...report, transcript: consent.checked ? this.transcript : [] }),
    );
    if (!sent) return;
    this.dialog.close();
    this.onSent(sent.id, sent.deletion_code);
  }
}

export class ShareDialog {
  constructor() {
    this.dialog = document.getElementById("share");
    this.form = document.getElementById("share-form");
    this.problem = document.getElementById("share-problem");
    this.missing = document.getElementById("share-missing");
    this.link = document.getElementById("share-link");
    this.sendButton = document.getElementById("share-send");
    this.copyButton = document.getElementById("share-copy");
    this.closeButton = document.getElementById("share-close");
    this.closeButton.addEventListener("click", () => this.dialog.close());
    this.copyButton.addEventListener("click", () => copyText(this.link.value, this.copyButton, "Copy link"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  open(messages) {
    this.messages = messages;
    this.form.reset();
    this.problem.hidden = this.missing.hidden = true;
    this.showLink("");
    this.dialog.showModal();
  }

  showLink(link) {
    this.link.value = link;
    document.getElementById("share-ask").hidden = this.sendButton.hidden = Boolean(link);
    document.getElementById("share-done").hidden = this.copyButton.hidden = !link;
    this.closeButton.textContent = link ? "Close" : "Cancel";
  }

  async send() {
    const { consent } = this.form.elements;
    this.missing.hidden = consent.checked;
    if (!consent.checked) {
      consent.focus();
      return;
    }
    const { messages } = this;
    const sent = await sending(this.sendButton, this.problem, () => post("/shared", { consent: true, messages }));
    if (!sent) return;
    this.showLink(new URL(sent.path, location.href).href);
    this.link.select();
    this.link.focus();
  }
}

/** The server's answer, or null after its refusal has been shown. */
async function sending(button, problem, send) {
  button.disabled = true;
  problem.hidden = true;
  try {
    return await (await send()).json();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
    return null;
  } finally {
    button.disabled = false;
  }
}

/** Copies, and says so on the button for two seconds. */
export async function copyText(text, button, label) {
  const words = button.querySelector("span") ?? button;
  try {
    await navigator.clipboard.writeText(text);
    words.textContent = "Copied";
    button.classList.add("done");
  } catch {
    words.textContent = "Copying is not allowed here";
  }
  document.getElementById("status").textContent = words.textContent;
  setTimeout(() => {
    words.textContent = label;
    button.classList.remove("done");
  }, 2000);
}
