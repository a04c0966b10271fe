#!/usr/bin/env bash
# Builds the wheel, installs it into an environment of its own, and runs the demo, shortened, from an empty folder.
# usage: tools/check_wheel.sh FOLDER, a folder for the environment that is made and removed.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder/dist" "$checkout"
"$folder/bin/pip" install --quiet --disable-pip-version-check -c "$checkout/constraints.txt" "$folder"/dist/pacos-*.whl
mkdir "$folder/empty"
cd "$folder/empty"
"$folder/bin/pacos" --version
"$folder/bin/pacos" recipes
"$folder/bin/pacos" run tiny generate.num_examples=200 train.num_epochs=1 evaluate.items_per_skill=1
test -s runs/tiny/report.html
test -s runs/tiny/release/MODEL_CARD.md
echo "the wheel runs the demo from an empty folder"
