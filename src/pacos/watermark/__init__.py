"""Marks generated text so that it can be told from other text, and detects the mark.

Imports no torch: detection runs without it, and `Watermark.apply` works on the tensors it is handed.
"""

from pacos.watermark.detection import Detection
from pacos.watermark.settings import SETTINGS_FILE, WatermarkSettings, read_settings
from pacos.watermark.text_detection import TextDetection, TextDetector, detect_text
from pacos.watermark.watermark import Watermark

__all__ = [
    "SETTINGS_FILE",
    "Detection",
    "TextDetection",
    "TextDetector",
    "Watermark",
    "WatermarkSettings",
    "detect_text",
    "read_settings",
]
