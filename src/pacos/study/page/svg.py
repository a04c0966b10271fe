"""A matplotlib figure as inline SVG that takes its colours and type from the page around it."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Small, so that type is readable where a phone shows the plot at its own size; wide screens enlarge it.
WIDTH_POINTS = 360

# matplotlib knows no CSS variables: each gets a colour that stands for it until the SVG is made.
COLOURS = {
    name: f"#00000{number}"
    for number, name in enumerate(("ink", "muted", "line", "base", "student", "third", "fourth", "paper"), start=1)
}
_STAND_INS = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
_COLOUR = re.compile("|".join(_STAND_INS))
_FONT = re.compile(r"(font: [^';]*?px) [^;]*")

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pacos",
    "font.size": 10.5,
    "text.color": COLOURS["ink"],
    "text.parse_math": False,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "xtick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}

THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.10g}")

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Plot:
    """An inline <svg> and the title to stand over it."""

    title: str
    svg: Markup


def plot(name: str, title: str, description: str, draw: Callable[[Figure], None], height_points: int = 216) -> Plot:
    """What `draw` puts on a figure, as an <svg> whose ids begin with `name`; title and description are spoken."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_POINTS / 72, height_points / 72), layout="constrained")
        draw(figure)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    return Plot(title, _inline(ElementTree.fromstring(drawn.getvalue()), name, title, description))


def legend_above(axes: Axes) -> None:
    """A legend over the plot, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handlelength=1.4, columnspacing=1.2)


def _inline(root: ElementTree.Element, name: str, title: str, description: str) -> Markup:
    for parent in list(root.iter()):
        for child in list(parent):
            # The metadata names outside addresses, and the style would apply to the whole page.
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {key: value for key, value in _attributes(element, name)}
        element.tail = None
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-labelledby": f"{name}-title {name}-text"}
    for tag, suffix, text in (("desc", "text", description), ("title", "title", title)):
        child = ElementTree.Element(tag, {"id": f"{name}-{suffix}"})
        child.text = text
        root.insert(0, child)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _attributes(element: ElementTree.Element, name: str) -> list[tuple[str, str]]:
    """The element's attributes for life inside a page that holds other plots: no id may stand there twice."""
    made = []
    for key, value in element.attrib.items():
        if key == "id":
            value = f"{name}-{value}"
        elif key == _LINK:
            key, value = "href", value.replace("#", f"#{name}-")
        elif "url(#" in value:
            value = value.replace("url(#", f"url(#{name}-")
        if key == "style":
            value = _FONT.sub(r"\1 var(--sans)", value)
            value = _COLOUR.sub(lambda match: _STAND_INS[match.group()], value)
        made.append((key, value))
    return made
