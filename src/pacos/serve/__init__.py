"""serve: the student behind an OpenAI-compatible API and a chat page, filtered and watermarked."""
