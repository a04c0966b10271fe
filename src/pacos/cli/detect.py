"""`pacos detect`: the watermark's verdict on a text."""

from pathlib import Path

from pacos.core.files import read_text
from pacos.core.models import resolve_model
from pacos.core.recipe import load_run
from pacos.watermark import SETTINGS_FILE, TextDetector, read_settings
from pacos.watermark.detection import MAX_FALSE_ALARM_RATE
from pacos.watermark.text_detection import TOKENIZER_FILE


def detect_file(path: Path, run_folder: Path) -> None:
    """Prints how many scored tokens are green, the z-score, the greenest passage where it says more than the whole, the
    exact p-value and what that means."""
    text = read_text(Path("/dev/stdin") if str(path) == "-" else path, "text to examine")
    settings = read_settings(run_folder / "serve" / SETTINGS_FILE)
    detection = TextDetector(_tokenizer_folder(run_folder), settings).detect(text)
    found, passage, span = detection.found, detection.found.passage, detection.passage()
    print(f"scored tokens  {found.num_tokens_scored}")
    print(f"green tokens   {found.num_green_tokens}  (expected without a mark: {settings.gamma:.0%})")
    print(f"z-score        {found.z_score:.2f}")
    if passage and span:
        beginning = " ".join(detection.text[span[0] : span[1]].split())[:40]
        print(
            f"passage        {passage.num_green_tokens} of {passage.num_tokens_scored} green in characters "
            f"{span[0] + 1:,} to {span[1]:,}, which begin {beginning!r}"
        )
    ways = [f"{found.readings} readings of the text"] * (found.readings > 1) + ["the whole and its passages"] * bool(
        passage
    )
    tried = f", for {' and '.join(ways)}" if ways else ""
    told = f"exact binomial{tried}; found at {MAX_FALSE_ALARM_RATE:.2g} or less"
    print(f"p-value        {found.exact_p_value:.3g}  ({told})")
    print(f"verdict        {found.verdict}")


def _tokenizer_folder(run_folder: Path) -> Path:
    """Where the tokenizer of the marked answers is; a server of before 0.1.0 left none in its folder."""
    if (run_folder / "serve" / TOKENIZER_FILE).is_file():
        return run_folder / "serve"
    served = load_run(run_folder).serve.model
    return Path(resolve_model(served)) if served else run_folder / "train" / "model"
