"""`pacos detect` on texts whose green tokens are counted out, one token a character."""

import json
import random
import re
import string
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy.special import ndtr
from scipy.stats import binom
from tokenizers import Tokenizer

from pacos.serve.marking import watermark_settings
from pacos.watermark import SETTINGS_FILE, Watermark, WatermarkSettings, detect_text
from pacos.watermark.text_detection import cased_again, put_right
from pacos.watermark.watermark import DEFAULT_KEY

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


@pytest.fixture(scope="module")
def marked(tiny_model: Path) -> str:
    """A long marked text of words and single blanks."""
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    mark = Watermark("lefthash", tokenizer.get_vocab_size())
    ids = [tokenizer.token_to_id(letter) for letter in string.ascii_uppercase]
    blank = tokenizer.encode(" ", add_special_tokens=False).ids[-1]
    written, draw = [ids[0]], random.Random(1)
    while len(written) < 500:
        green = [token for token in ids if mark.is_green(written[-1:], token)]
        written.append(draw.choice(green or ids))
        if len(written) % 6 == 0:
            written.append(blank)
    return tokenizer.decode(written)


CHANGED = {
    "double": lambda text: text.replace(" ", "  "),
    "no-break": lambda text: text.replace(" ", "\u00a0"),
    "thin, and at the ends of lines": lambda text: text.replace(" ", "\u2009") + " \n",
    "tabs": lambda text: text.replace(" ", "\t\t"),
    "zero-width": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: re.sub(r"\w(?=\w)", "\\g<0>\u00ad", text),
    "a byte order mark": lambda text: "\ufeff" + text.replace(" ", " \u2060"),
    "Cyrillic": lambda text: text.translate(str.maketrans("AEOPCTXKMHB", "АЕОРСТХКМНВ")),
    "Greek": lambda text: text.translate(str.maketrans("ABEHIKMNOPTXYZ", "ΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")),
    "full-width": lambda text: text.translate({ord(letter): ord(letter) + 0xFEE0 for letter in "AEIOU"}),
    "windows lines": lambda text: text.replace(" ", " \r\n", 3),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_text_that_looks_the_same_is_found(change: Callable[[str], str], marked: str, tiny_model: Path) -> None:
    settings = WatermarkSettings(
        scheme="lefthash",
        vocab_size=Tokenizer.from_file(str(tiny_model / "tokenizer.json")).get_vocab_size(),
    )
    plain, found = (detect_text(text, tiny_model, settings) for text in (marked, change(marked)))
    assert plain.verdict == found.verdict == "watermarked"
    assert (plain.readings, found.readings) == (1, 2)
    assert found.num_green_tokens > 0.85 * plain.num_green_tokens
    # What two readings find by chance is twice as much, and as much again is for the passages that were looked at.
    alone = binom.sf(found.num_green_tokens - 1, found.num_tokens_scored, 0.25)
    assert not found.is_in_passage
    assert found.exact_p_value == pytest.approx(2 * 2 * alone, rel=1e-6, abs=0)


def test_small_letters_are_read_again_and_a_passage_is_named(served_run: Path, marked: str, tiny_model: Path) -> None:
    assert cased_again('so it was. then i said: "no"\nnever') == 'So it was. Then I said: "No"\nNever'
    for unchanged in ("It was.", "1 < 2", "你好", ""):
        assert cased_again(unchanged) == unchanged
    draw = random.Random(2)
    before, after = ("".join(draw.choices(string.ascii_uppercase, k=400)) for _ in range(2))
    command = [sys.executable, "-m", "pacos", "detect", "-", "--run", str(served_run)]
    text = before + marked[:150] + after
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=True)
    assert "verdict        watermarked" in done.stdout
    named = re.search(r"passage +\d+ of \d+ green in characters (\d+) to (\d+), which begin '(\w+)", done.stdout)
    assert named, done.stdout
    first, last = int(named[1]) - 1, int(named[2])
    assert text[first:last].startswith(named[3])
    assert min(last, 550) - max(first, 400) > 0.7 * (max(last, 550) - min(first, 400))


def test_texts_that_are_as_they_should_be_are_read_once() -> None:
    for text in (
        "A plain text.\n\n    with code\n\ttoo\n",
        "Ein Café, naïve Æsir.",
        "Привет, мир.",
        "你好，世界。",
        "",
    ):
        assert put_right(text) == text
    assert put_right("Он said: сorrect, naïve") == "Oh said: correct, naïve"
    assert put_right("Жук said") == "Жук said"


def test_the_tokenizer_of_the_marked_answers_is_used_or_missed(served_run: Path, marked: str, tiny_model: Path) -> None:
    def detect() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pacos", "detect", "-", "--run", str(served_run)]
        return subprocess.run(command, input=marked, capture_output=True, text=True, timeout=120, check=False)

    (served_run / "serve" / SETTINGS_FILE).unlink()
    tokenizer = (tiny_model / "tokenizer.json").read_text()
    settings = watermark_settings(served_run / "serve", Tokenizer.from_str(tokenizer).get_vocab_size(), tokenizer)
    replace(settings, key=DEFAULT_KEY).write(served_run / "serve" / SETTINGS_FILE)
    # As after `pacos serve serve.model=...`, which no file of the run names.
    (served_run / "train" / "model").unlink()
    assert "verdict        watermarked" in detect().stdout
    (served_run / "serve" / "tokenizer.json").write_text(tokenizer + "\n")
    done = detect()
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert str(settings.tokenizer_sha256) in line
