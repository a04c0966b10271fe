#!/usr/bin/env bash
# Installs pacos with the oldest version that pyproject.toml allows of each dependency, imports every module, and runs
# tests that need no server. torch stays at the version of constraints.txt: another one is a download of gigabytes.
# usage: tools/oldest.sh FOLDER, a folder for the environment that is made and removed.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
python3 - "$checkout" > "$folder/oldest.txt" <<'P'
import re, sys, tomllib
from pathlib import Path
root = Path(sys.argv[1])
for name, low in (re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", d).groups() for d in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]):
    if name == "torch":
        low = re.search(r"^torch==(\S+)", (root / "constraints.txt").read_text(), re.M).group(1)
    print(f"{name}=={low}")
P
"$folder/bin/pip" install --quiet --disable-pip-version-check -c "$folder/oldest.txt" "$checkout" pytest pytest-xdist hypothesis peft \
    choix evalica statsmodels
cd "$folder"
"$folder/bin/python" - <<'P'
import importlib, pkgutil, pacos
for module in pkgutil.walk_packages(pacos.__path__, "pacos."):
    # These are imported by vLLM, HELM, Inspect and lm-eval, each in an environment of its own.
    if not module.name.endswith(("__main__", "vllm_plugin", "helm_plugin", "inspect_tasks", "lm_eval_rouge")):
        importlib.import_module(module.name)
print("every module of pacos imports with the oldest versions")
P
# A copy, so that the installed package is tested and not the checkout's; the real data lies beside it as it does there.
mkdir "$folder/copy"
cp -r "$checkout/tests" "$checkout/benchmarks" "$checkout/pyproject.toml" "$folder/copy/"
if [ -d "$checkout/../shared" ]; then ln -s "$(realpath "$checkout/../shared")" "$folder/shared"; fi
cd "$folder/copy"
OMP_NUM_THREADS=1 "$folder/bin/python" -m pytest -q -n 2 --import-mode=importlib tests/statistics tests/judging \
    tests/evaluate/test_run.py tests/evaluate/test_http_judge.py tests/engines/test_http.py tests/serve/test_openai_api.py
