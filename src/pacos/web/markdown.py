"""Markdown that strangers and models wrote, as HTML that cannot act: one piece of HTML a block."""

from collections.abc import Sequence

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

# Images are left out: an address in an answer could carry the conversation to another server.
TAGS = {"a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s"}
TAGS |= {"span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "span": {"class"}, "code": {"class"}}
URL_SCHEMES = {"http", "https", "mailto"}


def _highlighted(code: str, language: str, attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return ""
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


# `html: False` shows tags as text, so a reader sees what the model wrote; nh3 is the second wall.
_parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "highlight": _highlighted})
_parser.enable(["table", "strikethrough"]).disable("image")


def render_blocks(text: str) -> list[str]:
    """Sanitised HTML of each top-level block; appended text changes the last ones only.

    `<`, `>` and `&` in `text` come out as text; links keep http, https and mailto only; images become links' text.
    """
    environment: dict[str, object] = {}
    tokens = _parser.parse(text, environment)
    return [_render(block, _parser.options, environment) for block in _top_level(tokens)]


def render_markdown(text: str) -> str:
    """The whole text as one piece of sanitised HTML."""
    return "\n".join(render_blocks(text))


def _top_level(tokens: Sequence[Token]) -> list[list[Token]]:
    blocks: list[list[Token]] = []
    depth = 0
    for token in tokens:
        if depth == 0:
            blocks.append([])
        blocks[-1].append(token)
        depth += token.nesting
    return blocks


def _render(block: list[Token], options: OptionsDict, environment: dict[str, object]) -> str:
    html = _parser.renderer.render(block, options, environment)
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=URL_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        # Wide code and tables scroll, which a keyboard can only do in what it can reach.
        set_tag_attribute_values={"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}},
    ).strip()
