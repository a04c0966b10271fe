"""What every room speaks: records, recipe, prompt templates, run folder, errors. No torch, no web."""
