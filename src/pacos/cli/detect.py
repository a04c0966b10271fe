"""`pacos detect`: the watermark's verdict on a text."""

from pathlib import Path

from pacos.core.files import read_text
from pacos.core.models import resolve_model
from pacos.core.recipe import load_run
from pacos.watermark import SETTINGS_FILE, detect_text, read_settings
from pacos.watermark.detection import MAX_FALSE_ALARM_RATE


def detect_file(path: Path, run_folder: Path) -> None:
    """Prints how many scored tokens are green, the z-score, the exact p-value and what that means."""
    text = read_text(Path("/dev/stdin") if str(path) == "-" else path, "text to examine")
    settings = read_settings(run_folder / "serve" / SETTINGS_FILE)
    served = load_run(run_folder).serve.model
    model = Path(resolve_model(served)) if served else run_folder / "train" / "model"
    found = detect_text(text, model, settings)
    print(f"scored tokens  {found.num_tokens_scored}")
    print(f"green tokens   {found.num_green_tokens}  (expected without a mark: {settings.gamma:.0%})")
    print(f"z-score        {found.z_score:.2f}")
    print(f"p-value        {found.exact_p_value:.3g}  (exact binomial; found at {MAX_FALSE_ALARM_RATE:.2g} or less)")
    print(f"verdict        {found.verdict}")
