"""Templates into one page: everything that comes from a run is escaped, plots alone are markup."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pacos.study.page import formats

FILTERS = (
    "count",
    "counted",
    "percent",
    "interval",
    "usd",
    "duration",
    "size",
    "date",
    "words",
    "slug",
    "shortened",
    "uncontrolled",
)
# The colours and type faces are those of the served pages.
LOADER = ChoiceLoader([PackageLoader("pacos.study.page"), PackageLoader("pacos.web", "static")])


def render(template: str, **values: Any) -> str:
    """The page's HTML. Jinja escapes every value that is not Markup."""
    environment = Environment(
        loader=LOADER,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_showable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({name: getattr(formats, name) for name in FILTERS})
    return environment.get_template(template).render(**values)


def _showable(value: Any) -> Any:
    return formats.showable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
