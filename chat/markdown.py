"""Markdown as answers use it, to sanitised HTML: what is allowed, and how each part is drawn. Pure.

CommonMark with tables, task lists, footnotes, and formulas that stay as they were written. Raw HTML
is text, and nothing an answer says is fetched.
"""

import re
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from chat.latex import add_formulas

HIGHLIGHT_UP_TO = 50_000  # characters; beyond it colours cost more than they help
_TAGS = {
    *("a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure"),
    *("h3", "h4", "h5", "h6", "hr", "input", "label", "li", "ol", "p", "pre", "s", "section"),
    *("span", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {
    "a": {"href", "title", "target", "id", "class", "aria-label"},
    "button": {"class", "type", "data-copy"},
    "code": {"class"},
    "div": {"class", "tabindex"},
    "figure": {"class"},
    "input": {"type", "checked", "disabled"},
    "li": {"id", "class"},
    "ol": {"start"},
    "pre": {"tabindex"},
    "section": {"class", "aria-label"},
    "span": {"class"},
    "td": {"class"},
    "th": {"class"},
}
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
)
_FOOTNOTE = re.compile(r"^ {0,3}\[\^[^\]\s]+\]:", re.MULTILINE)
_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True)


def to_html(text: str, env: dict[str, Any]) -> str:
    """The HTML of complete blocks; `env` keeps link definitions between calls."""
    return _CLEANER.clean(_MARKDOWN.render(text, env)) if text.strip() else ""


def document(text: str, name: str = "") -> str:
    """A whole text's HTML; `name` makes the ids of its footnotes unique on a page.

    Without footnotes it is what a BlockSplitter's blocks are when joined.
    """
    text = text.replace("\r", "")
    if not has_footnotes(text):
        return to_html(text, {})
    return _CLEANER.clean(_WITH_FOOTNOTES.render(text, {"docId": name}))


def has_footnotes(text: str) -> bool:
    """Whether the text may define a footnote. References to it come earlier, so only the complete
    text can be rendered."""
    return "[^" in text and _FOOTNOTE.search(text) is not None


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
        f'<pre tabindex="0"><code class="highlight">{_highlight(token.content, language)}</code>'
        "</pre></figure>\n"
    )


def _highlight(code: str, language: str) -> str:
    if not language or len(code) > HIGHLIGHT_UP_TO:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    return highlight(code, lexer, _FORMATTER)


def _link(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("target", "_blank")
    return renderer.renderToken(tokens, index, options, env)


def _image(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """A link in its place: a picture would show a stranger's server who reads, and when."""
    token = tokens[index]
    label = renderer.renderInlineAsText(token.children, options, env) or "image"
    href = escape(str(token.attrs["src"]))
    return f'<a href="{href}" target="_blank">{escape(label)}</a>'


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


def _footnotes(
    renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any
) -> str:
    return '<section class="footnotes" aria-label="Footnotes">\n<ol>\n'


def _back(renderer: RendererHTML, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """From a footnote to the place that refers to it."""
    meta = tokens[index].meta
    sub = f":{meta['subId']}" if meta["subId"] else ""
    name, number = env["docId"], meta["id"] + 1
    label = f'aria-label="Back to reference {number}"'
    return f' <a href="#fnref-{escape(name)}-{number}{sub}" {label}>\u21a9\ufe0e</a>'


def _parser() -> MarkdownIt:
    """What decides where blocks begin and end."""
    markdown = MarkdownIt("commonmark", {"html": False, "linkify": True})
    markdown.enable(["table", "strikethrough", "linkify"])
    if markdown.linkify is not None:
        markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    add_formulas(markdown)
    return markdown


def _markdown() -> MarkdownIt:
    markdown = _parser()
    tasklists_plugin(markdown, label=True)
    rules = (
        ("fence", _fence), ("code_block", _fence), ("link_open", _link), ("image", _image),
        ("table_open", _table), ("table_close", _table), ("th_open", _cell), ("td_open", _cell),
        ("heading_open", _heading), ("heading_close", _heading),
    )  # fmt: skip
    for name, rule in rules:
        markdown.add_render_rule(name, rule)
    return markdown


def _with_footnotes() -> MarkdownIt:
    markdown = _markdown()
    footnote_plugin(markdown, inline=False)
    markdown.add_render_rule("footnote_block_open", _footnotes)
    markdown.add_render_rule("footnote_anchor", _back)
    return markdown


_MARKDOWN = _markdown()
_WITH_FOOTNOTES = _with_footnotes()
BLOCKS = _parser().disable(["inline", "linkify", "text_join"])
"""Finds blocks, renders nothing."""
