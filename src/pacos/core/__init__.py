"""What every stage and part uses: records, recipe, prompt templates, run folder, errors. No torch, no web."""
