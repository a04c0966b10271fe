#!/usr/bin/env bash
# Programs that evaluate over OpenAI's protocol, in an environment of their own: `tools/harnesses.sh .harnesses`.
# tests/serve/test_harnesses.py runs each of them, unmodified, against a server.
set -euo pipefail
folder=$1
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check \
  "lm-eval[api]==0.4.13" "transformers==5.23.0" "llm==0.36" "inspect-ai==0.3.285" openai
