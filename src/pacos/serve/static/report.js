/** The report dialog: a reason, details, and the conversation only with the box ticked. */

import { post } from "./stream.js";

export class ReportDialog {
  constructor() {
    this.dialog = document.getElementById("report");
    this.form = document.getElementById("report-form");
    this.problem = document.getElementById("report-problem");
    this.sendButton = document.getElementById("report-send");
    document.getElementById("report-cancel").addEventListener("click", () => this.dialog.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** `transcript` ends with the reported answer; `onSent` gets the report's number. */
  open(transcript, onSent) {
    this.transcript = transcript;
    this.onSent = onSent;
    this.form.reset();
    this.problem.hidden = true;
    this.dialog.showModal();
  }

  async send() {
    const { reason, details, consent } = this.form.elements;
    this.sendButton.disabled = true;
    try {
      const response = await post("/reports", {
        reason: reason.value,
        details: details.value.trim(),
        consent: consent.checked,
        transcript: consent.checked ? this.transcript : [],
      });
      const { id } = await response.json();
      this.dialog.close();
      this.onSent(id);
    } catch (error) {
      this.problem.textContent = error.message;
      this.problem.hidden = false;
    } finally {
      this.sendButton.disabled = false;
    }
  }
}
