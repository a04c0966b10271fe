"""`pacos detect` on texts whose green tokens are counted out, one token a character."""

import json
import string
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.special import ndtr
from scipy.stats import binom
from tokenizers import Tokenizer

from pacos.watermark import SETTINGS_FILE, Watermark, WatermarkSettings

NUM_SCORED = 30
MAX_FALSE_ALARM_RATE = ndtr(-4)
ENOUGH = next(k for k in range(NUM_SCORED) if binom.sf(k - 1, NUM_SCORED, 0.25) <= MAX_FALSE_ALARM_RATE)


@pytest.fixture
def served_run(tmp_path: Path, tiny_model: Path) -> Path:
    """A run folder as far as the detector reads it."""
    folder = tmp_path / "my-run"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "model").symlink_to(tiny_model)
    (folder / "recipe.toml").write_text("")
    (folder / "resolved.json").write_text(json.dumps({"serve": {"watermark": True}}))
    vocab_size = Tokenizer.from_file(str(tiny_model / "tokenizer.json")).get_vocab_size()
    WatermarkSettings(scheme="lefthash", vocab_size=vocab_size).write(folder / "serve" / SETTINGS_FILE)
    return folder


def text_with(num_green: int, mark: Watermark, tokenizer: Tokenizer) -> str:
    """A text of characters that no merge joins, with that many green pairs of NUM_SCORED, each pair once."""
    ids = [tokenizer.token_to_id(character) for character in string.ascii_uppercase + string.digits]
    written, seen = [ids[0]], set()
    for position in range(NUM_SCORED):
        wanted = position < num_green
        following = next(
            token for token in ids if (written[-1], token) not in seen and mark.is_green(written[-1:], token) == wanted
        )
        seen.add((written[-1], following))
        written.append(following)
    return tokenizer.decode(written)


@pytest.mark.parametrize(
    ("num_green", "verdict"), [(ENOUGH, "watermarked"), (ENOUGH - 1, "no watermark found"), (0, "no watermark found")]
)
def test_the_verdict_is_by_the_exact_tail(served_run: Path, tiny_model: Path, num_green: int, verdict: str) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    mark = Watermark("lefthash", tokenizer.get_vocab_size())
    path = served_run / "text.txt"
    path.write_text(text_with(num_green, mark, tokenizer))
    command = [sys.executable, "-m", "pacos", "detect", str(path), "--run", str(served_run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = {line[:15].strip(): line[15:].strip() for line in done.stdout.splitlines()}
    assert said["scored tokens"] == str(NUM_SCORED)
    assert said["green tokens"].split()[0] == str(num_green)
    assert float(said["p-value"].split()[0]) == pytest.approx(binom.sf(num_green - 1, NUM_SCORED, 0.25), rel=0.01)
    assert said["verdict"] == verdict
    # One green token too few for the exact tail is more than enough for the normal one, which is too small here.
    assert (float(said["z-score"]) > 4) == (num_green > 0)
