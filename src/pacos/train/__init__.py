"""Fine-tuning: from instruction data and a base to a student, by an own loop on a transformers causal LM."""
