"""The local engine: a Hugging Face checkpoint on this machine."""
