/** The report dialog: a reason, details, and the conversation only with the box ticked. */

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

  /** `transcript` ends with the reported answer; `onSent` gets the report's number and the code that deletes it. */
  open(transcript, isRefusal, onSent) {
    this.transcript = transcript;
    this.onSent = onSent;
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
    this.sendButton.disabled = true;
    try {
      const response = await post("/reports", {
        reason: reason.value,
        details: details.value.trim(),
        consent: consent.checked,
        transcript: consent.checked ? this.transcript : [],
      });
      const { id, deletion_code: code } = await response.json();
      this.dialog.close();
      this.onSent(id, code);
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    } finally {
      this.sendButton.disabled = false;
    }
  }
}
