"""Reads a GGUF file of LLaMA, Qwen, Gemma or SmolLM shape, and writes it as an ordinary Hugging Face folder."""
