"""Whatever text goes in, what comes out is inert and says the same."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.web.markdown import ATTRIBUTES, TAGS, render_blocks, render_markdown

HOSTILE = ["<script>", "</pre>", "<img src=x onerror=a()>", "[a](javascript:b)", "[a](data:text/html,x)", "<http://e>"]
HOSTILE += [
    "![c](http://d)",
    "[x]: <javascript:y>\n",
    "[x]",
    "<svg/onload=a()>",
    "style=",
    "\x00",
    "<",
    '"',
    "'",
    "&lt;",
]
MARKS = ["```js\n", "```", "`", "**", "\n", "\n\n", "- ", "1. ", "> ", "| a | b |\n|---|---|\n", "# ", "word "]
PIECES = st.sampled_from(HOSTILE + MARKS)


class Inspector(HTMLParser):
    """Collects every tag, attribute and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=25).map("".join))
def test_nothing_that_acts_comes_out(text: str) -> None:
    seen = Inspector(render_markdown(text))
    assert seen.tags <= TAGS
    for tag, name, value in seen.attributes:
        assert name in ATTRIBUTES.get(tag, set()) | {"rel", "tabindex"}
        if name == "href":
            assert re.match(r"(https?|mailto):", value or "") or not re.match(r"[a-z]+:", value or "", re.I)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=15).map("".join), st.lists(PIECES, max_size=5).map("".join))
def test_blocks_of_a_longer_text_give_the_longer_page(text: str, more: str) -> None:
    """What the page does with changed blocks and the count leads to the same page as rendering at once."""
    shown = render_blocks(text)
    after = render_blocks(text + more)
    changed = [(i, html) for i, html in enumerate(after) if i >= len(shown) or shown[i] != html]
    for i, html in changed:
        shown[i : i + 1] = [html]
    assert shown[: len(after)] == after


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** *c* `d` ~~e~~", "<p>a <strong>b</strong> <em>c</em> <code>d</code> <s>e</s></p>"),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("<b>x</b> & y", "<p>&lt;b&gt;x&lt;/b&gt; &amp; y</p>"),
        ("3. c", '<ol start="3">\n<li>c</li>\n</ol>'),
        (
            "![pixel](https://e.example/?q=1)",
            '<p>!<a href="https://e.example/?q=1" rel="noopener noreferrer nofollow">pixel</a></p>',
        ),
    ],
)
def test_common_markdown(text: str, html: str) -> None:
    assert render_markdown(text) == html


def test_code_is_coloured_by_classes_not_styles() -> None:
    html = render_markdown("```python\ndef f(): return '<b>'\n```\n\n```nolang\n<i>\n```")
    assert '<span class="k">def</span>' in html
    assert "style" not in html
    assert "&lt;b&gt;" in html
    assert "&lt;i&gt;" in html
