"""Markdown becomes the same safe HTML however its text arrives."""

from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.markdown import BLOCKS
from chat.render import BlockSplitter, document

ANSWER = """# Title

Hello *world*, see https://example.com/a?b=1&c=2 and `code`.

| name | price |
|:-----|------:|
| tea  | 2.50  |

- one
- two

  still two
- three

```python
def f(x):

    return x < 1
```
1. first
2. second

> quoted
and on

    indented

last line"""


def streamed(text: str, cuts: list[int]) -> tuple[list[str], str]:
    """The pieces of HTML that came, and the open tail as a reader has put it together."""
    splitter, blocks, tail = BlockSplitter(), [], ""
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(edges):
        fed = splitter.feed(text[start:end])
        tail = tail + text[start:end].replace("\r", "") if fed.tail is None else fed.tail
        if fed.html:
            blocks.append(fed.html)
    assert tail == splitter.tail
    blocks.append(splitter.close().html)
    return blocks, tail


# Pieces that Markdown is made of, so that random texts are full of structure.
PIECES = [
    *("a", "word ", "\n", "\n\n", "- ", "1. ", "> ", "# ", "    ", "  ", "```", "```py\n", "~~~"),
    *(
        "|",
        "\r",
        "| a | b |\n",
        "|--|--|\n",
        "---\n",
        "===\n",
        "*",
        "**",
        "`",
        "\t",
        "é",
        "<b>",
        "&amp;",
    ),
    "\r\n",
    *("\\[", "\\]", "\\(x", "\\)", "$$", "$a_1$", "\\begin{a}", "\\end{a}", "[^1]", "- [ ] do\n"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(text=texts, cuts=st.lists(st.integers(min_value=0, max_value=400), max_size=12))
def test_any_chunking_gives_the_same_html(text: str, cuts: list[int]) -> None:
    """Where the pieces were cut makes no difference, and joined they are the whole."""
    assert "".join(streamed(text, cuts)[0]) == document(text)


brackets = st.sampled_from(
    ["[a]", "[a]: /u", "[a]:", " 'title", "more'", "\n", "\n\n", "- ", "# x\n"]
)


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(brackets, max_size=20).map("".join),
    cuts=st.lists(st.integers(min_value=0, max_value=100), max_size=12),
)
def test_link_definitions_do_not_depend_on_the_chunking(text: str, cuts: list[int]) -> None:
    """A definition reaches what comes after it, never what was finished before."""
    assert "".join(streamed(text, cuts)[0]) == "".join(streamed(text, [])[0])


def test_blocks_are_finished_as_soon_as_nothing_can_change_them() -> None:
    """A heading is done with its line, a paragraph with the blank line, code with its fence."""
    splitter = BlockSplitter()
    assert splitter.feed("# Title\n").html == "<h3>Title</h3>\n"
    assert splitter.feed("Some text.\n").html == ""
    assert splitter.feed("\n").html == "<p>Some text.</p>\n"
    opened = splitter.feed("```py\nx = 1\n")
    assert (opened.html, opened.tail, opened.code) == ("", "```py\nx = 1\n", True)
    assert "highlight" in splitter.feed("```\n").html
    assert splitter.tail == ""


def test_a_list_stays_open_over_a_blank_line() -> None:
    """Only what follows shows whether the list goes on."""
    splitter = BlockSplitter()
    assert splitter.feed("- one\n\n").html == ""
    assert splitter.feed("- two\n\n").html == ""
    assert splitter.feed("Text.\n").html.startswith("<ul>")


def test_a_known_link_definition_serves_later_blocks() -> None:
    """A definition rendered with one block is remembered for the next."""
    text = "[site]: https://example.com\n\nFirst.\n\nSee [site].\n\n"
    assert 'href="https://example.com"' in "".join(streamed(text, [30, 40])[0])


def test_code_has_its_language_a_copy_button_and_colours() -> None:
    """The script finds the button by its attribute; colours are classes."""
    html = document("```python\nreturn 1\n```\n")
    assert '<span class="code-lang">python</span>' in html
    assert "data-copy" in html
    assert '<span class="k">return</span>' in html
    assert "style=" not in document(ANSWER)


def test_code_in_an_unknown_language_is_plain() -> None:
    """No lexer, no colours, the same text."""
    assert "a &lt; b" in document("```nonesuch\na < b\n```\n")


def test_links_open_safely_in_a_new_tab() -> None:
    """The opened page cannot reach back, and search engines give it no weight."""
    html = document("[x](https://example.com)")
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer nofollow"' in html


def test_an_image_becomes_a_link() -> None:
    """Nothing is fetched from a stranger's server by reading an answer."""
    html = document("![a cat](https://example.com/cat.png)")
    assert "<img" not in html
    assert ">a cat</a>" in html


SAFE_TAGS = {"a", "p", "figure", "figcaption", "span", "button", "pre", "code", "div"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}


class Found(HTMLParser):
    """The tags and attributes a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x](&#x6A;avascript:alert(1))",
        "[x](vbscript:x)",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "![x](data:image/svg+xml;base64,PHN2Zz4=)",
        "![x](javascript:alert(1))",
        "<javascript:alert(1)>",
        "[x]: javascript:alert(1)\n\n[x]",
        '```"><script>alert(1)</script>\ncode\n```',
        '```py" onmouseover="alert(1)\ncode\n```',
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "| <script>alert(1)</script> |\n|--|\n| <svg onload=alert(1)> |",
        "<hx-partial hx-target='body'>x</hx-partial>",
        "<div hx-get=/x hx-trigger=load>x</div>",
        '[x](https://a.b "onclick=alert(1)")',
    ],
)
def test_nothing_in_an_answer_runs(text: str) -> None:
    """No script, no handler, no dangerous address comes out as markup."""
    found = Found()
    found.feed(document(text))
    assert found.tags <= SAFE_TAGS
    assert not [name for name, _ in found.attributes if name.startswith(("on", "style", "hx-"))]
    links = [value or "" for name, value in found.attributes if name == "href"]
    assert all(link.startswith(("https://", "http://")) for link in links)


@pytest.mark.parametrize(
    "line", ["- a **bold** item\n", "| a | b |\n|--|--|\n", "word and `code`\n", "> quote\n"]
)
def test_the_work_grows_with_the_text_and_not_with_its_square(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight times the text is about eight times as much to parse, in one open block too."""
    parse = BLOCKS.parse
    parsed = 0

    def counting(text: str, *rest: Any) -> Any:
        nonlocal parsed
        parsed += len(text)
        return parse(text, *rest)

    monkeypatch.setattr(BLOCKS, "parse", counting)

    def work(count: int) -> int:
        nonlocal parsed
        parsed, splitter = 0, BlockSplitter()
        for _ in range(count):
            splitter.feed(line)
        splitter.close()
        return parsed

    assert 0 < work(1600) < 8 * 3 * work(200)
