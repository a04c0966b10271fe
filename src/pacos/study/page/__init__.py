"""The parts of report.html: what is read, what is shown of it, plots, templates."""
