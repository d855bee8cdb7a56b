"""Markdown to sanitised HTML, each block once: pure text in, safe markup out.

A Splitter is fed an answer as it grows. A block is rendered when nothing that follows can change
it; what is left is the open tail. How the text was cut into pieces makes no difference.
"""

import re
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from providers.values import value

HIGHLIGHT_UP_TO = 50_000  # characters; beyond it colours cost more than they help
GROWTH = 1.25  # an open block is looked at again when it has grown by a quarter: linear in all

_TAGS = {
    *("a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure"),
    *("h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "span", "strong"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {
    "a": {"href", "title", "target"},
    "button": {"class", "type", "data-copy"},
    "code": {"class"},
    "div": {"class", "tabindex"},
    "figure": {"class"},
    "ol": {"start"},
    "pre": {"tabindex"},
    "span": {"class"},
    "td": {"class"},
    "th": {"class"},
}
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)
_MARKER = re.compile(r"^ {0,3}(?:[-+*]|\d{1,9}[.)])(?:\s|$)")
_FENCE_END = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*$")


@value
class Fed:
    """What one feeding did. `tail` is the open part as it now is, or None where it only grew.

    `code` when the open part is a code block.
    """

    html: str
    tail: str | None
    code: bool


class Splitter:
    """One answer's text on its way to HTML. `feed` it pieces, `close` it at the end."""

    def __init__(self) -> None:
        self._env: dict[str, Any] = {}  # link definitions, known to the blocks after them
        self._lines: list[str] = []  # complete lines of the open part, each with its end
        self._partial = ""  # the line that has not ended
        self._size = 0
        self._seen = 0  # size of the open part when it was last parsed
        self._cuts = 0  # how often finished lines were taken off the open part
        self._fence = ""  # the marker that opened the code block we are in

    @property
    def tail(self) -> str:
        return "".join(self._lines) + self._partial

    def feed(self, text: str) -> Fed:
        """Takes the next piece; returns the HTML of the blocks that it finished."""
        *ended, self._partial = (self._partial + text.replace("\r", "")).split("\n")
        before = (self._cuts, bool(self._fence))
        html = "".join([self._end_line(line + "\n") for line in ended])
        code = bool(self._fence)
        grew = before == (self._cuts, code)
        return Fed(html=html, tail=None if grew else self.tail, code=code)

    def close(self) -> Fed:
        """The answer is over: what is open is rendered as it stands."""
        rest = self.tail
        self._lines, self._partial, self._size, self._seen, self._fence = [], "", 0, 0, ""
        return Fed(html=_html(rest, self._env), tail="", code=False)

    def _end_line(self, line: str) -> str:
        self._lines.append(line)
        self._size += len(line)
        if not self._may_end(line):
            return ""
        self._seen = self._size
        finished, self._fence = _finished(self._lines)
        if not finished:
            return ""
        self._cuts += 1
        done, self._lines = "".join(self._lines[:finished]), self._lines[finished:]
        self._seen = self._size = self._size - len(done)
        return _html(done, self._env)

    def _may_end(self, line: str) -> bool:
        """Whether parsing is worth its cost now; only when, never what, is decided here."""
        if self._fence:
            return _closes(line, self._fence)
        if self._size >= self._seen * GROWTH:
            return True
        if _blank(line):
            return not (_MARKER.match(self._lines[0]) or self._lines[0].startswith("    "))
        after_blank = len(self._lines) > 1 and _blank(self._lines[-2])
        return after_blank and not line[0].isspace() and not _MARKER.match(line)


def document(text: str) -> str:
    """A whole text's HTML, as a Splitter's blocks would be when joined."""
    return _html(text.replace("\r", ""), {})


def _finished(lines: list[str]) -> tuple[int, str]:
    """How many lines belong to finished blocks, and the marker of a code block left open.

    Every block is finished once another has begun after it. The last one is, when it is of a kind
    that an end marker or a blank line closes for good (a list may go on after one).
    """
    blocks = [t for t in _BLOCKS.parse("".join(lines)) if t.level == 0 and t.nesting >= 0 and t.map]
    if not blocks:
        return 0, ""
    last = blocks[-1]
    start, end = last.map or (0, 0)
    if _is_closed(last, lines[start:end], blank_after=len(lines) > end and _blank(lines[end])):
        return _past_blanks(lines, end), ""
    # Link definitions may stand between two blocks; the last of them may still grow a title.
    before = blocks[-2].map if len(blocks) > 1 else None
    return _past_blanks(lines, before[1] if before else 0), (
        last.markup if last.type == "fence" else ""
    )


def _is_closed(block: Token, lines: list[str], *, blank_after: bool) -> bool:
    if block.type == "fence":
        return len(lines) > 1 and _closes(lines[-1], block.markup)
    if block.type in ("heading_open", "hr"):
        return True
    return blank_after and block.type in ("paragraph_open", "table_open", "blockquote_open")


def _past_blanks(lines: list[str], index: int) -> int:
    while index < len(lines) and _blank(lines[index]):
        index += 1
    return index


def _blank(line: str) -> bool:
    return not line.strip()


def _closes(line: str, fence: str) -> bool:
    match = _FENCE_END.match(line)
    return match is not None and match[1].startswith(fence)


def _html(text: str, env: dict[str, Any]) -> str:
    return _CLEANER.clean(_MARKDOWN.render(text, env)) if text.strip() else ""


def _fence(
    renderer: RendererHTML, tokens: list[Token], index: int, options: object, env: object
) -> str:
    """A code block with its language and a copy button; the script finds it by `data-copy`."""
    token = tokens[index]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    return (
        '<figure class="code"><figcaption>'
        f'<span class="code-lang">{escape(language) or "text"}</span>'
        '<button type="button" class="button quiet small" data-copy>Copy</button></figcaption>'
        f'<pre tabindex="0"><code class="highlight">{_coloured(token.content, language)}</code>'
        "</pre></figure>\n"
    )


def _coloured(code: str, language: str) -> str:
    if not language or len(code) > HIGHLIGHT_UP_TO:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    return highlight(code, lexer, _FORMATTER)


def _image(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """A link in its place: showing it would tell a stranger's server who reads, and when."""
    token = tokens[index]
    label = renderer.renderInlineAsText(token.children, options, env) or "image"
    return f'<a href="{escape(str(token.attrs["src"]))}">{escape(label)}</a>'


def _table(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """Wide tables scroll inside their frame; a keyboard can reach it."""
    opening = tokens[index].nesting > 0
    return '<div class="scroll-x" tabindex="0"><table>\n' if opening else "</table></div>\n"


def _heading(
    renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any
) -> str:
    """Two levels down: the page has its own first heading, and each message its own second."""
    token = tokens[index]
    tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return f"<{tag}>" if token.nesting > 0 else f"</{tag}>\n"


def _cell(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """Alignment as a class: the page's policy allows no style attributes."""
    token = tokens[index]
    style = str(token.attrs.get("style", ""))
    side = style.removeprefix("text-align:")
    return f'<{token.tag} class="{escape(side)}">' if side else f"<{token.tag}>"


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": True})
    markdown.enable(["table", "strikethrough", "linkify"])
    if markdown.linkify is not None:
        markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    rules = (
        ("fence", _fence), ("code_block", _fence), ("image", _image), ("table_open", _table),
        ("table_close", _table), ("th_open", _cell), ("td_open", _cell),
        ("heading_open", _heading), ("heading_close", _heading),
    )  # fmt: skip
    for name, rule in rules:
        markdown.add_render_rule(name, rule)
    return markdown


_MARKDOWN = _markdown()
_BLOCKS = _markdown().disable(["inline", "linkify", "text_join"])  # finds blocks, renders nothing
