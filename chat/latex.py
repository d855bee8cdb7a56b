"""LaTeX in Markdown, kept exactly as it was written: nothing in a formula is Markdown. Pure.

The delimiters are those of LaTeX (round and square brackets after a backslash, `begin` and `end` of
an environment), double dollars, and single ones by Pandoc's rule: no space inside them, no letter
or digit before and no digit after, so that prices stay prices. They are kept too, for whatever
renders formulas.
"""

import re
from collections.abc import Sequence
from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

LONGEST = 10_000  # characters of one formula; bounds the search for each opening's end
_CLOSINGS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_BEGIN = re.compile(r"\\begin\{([A-Za-z]+\*?)\}")
_DISPLAY = re.compile(r"\\\[|\$\$|\\begin\{[A-Za-z]+\*?\}")


def add_formulas(markdown: MarkdownIt) -> None:
    """Teaches the parser formulas: as text in a paragraph, and as paragraphs of their own."""
    markdown.inline.ruler.before("escape", "formula", _inline)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.block.ruler.before("fence", "formula", _block, interrupts)
    markdown.add_render_rule("formula", _render)


def formula_end(text: str, start: int) -> int:
    """Where the formula that begins at `start` ends; -1 where none begins there."""
    opening, closing = _delimiters(text, start)
    if not opening:
        return _dollar_end(text, start) if text[start] == "$" else -1
    end = _find(text, closing, start + len(opening), start + LONGEST)
    inside = text[start + len(opening) : end].strip() if end >= 0 else ""
    return end + len(closing) if inside else -1


def _delimiters(text: str, start: int) -> tuple[str, str]:
    opening = text[start : start + 2]
    if closing := _CLOSINGS.get(opening):
        return opening, closing
    if opening == "\\b" and (begin := _BEGIN.match(text, start)):
        return begin[0], f"\\end{{{begin[1]}}}"
    return "", ""


def _dollar_end(text: str, start: int) -> int:
    """Of `$...$`: the next dollar decides, as a formula holds none."""
    after = text[start + 1 : start + 2]
    if not after or after.isspace() or text[max(0, start - 1) : start].isalnum():
        return -1
    end = _find(text, "$", start + 1, start + LONGEST)
    if end < 0 or text[end - 1].isspace() or text[end + 1 : end + 2].isdigit():
        return -1
    return end + 1


def _find(text: str, closing: str, start: int, stop: int) -> int:
    """The closing delimiter that no backslash escapes."""
    at = text.find(closing, start, stop)
    while at >= 0 and _is_escaped(text, at, start):
        at = text.find(closing, at + 1, stop)
    return at


def _is_escaped(text: str, at: int, start: int) -> bool:
    before = text[max(start, at - 64) : at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    end = formula_end(state.src, state.pos)
    if not 0 <= end <= state.posMax:
        return False
    if not silent:
        state.push("formula", "", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A paragraph that begins with a display formula: no line of the formula starts another block.

    It ends with the formula's last line, or before a blank one: LaTeX allows none in a formula.
    What the next lines are decides nothing, so an answer is cut the same however it arrives.
    """
    if state.is_code_block(start):
        return False
    line = _line(state, start)
    opening = _DISPLAY.match(line)
    if opening is None:
        return False
    closing = _delimiters(line, 0)[1]
    before, closed, after = line[opening.end() :].partition(closing)
    if closed and (after.strip() or not before.strip()):
        return False
    if not silent:
        last = start if closed else _last_line(state, start, end, closing)
        _push_paragraph(state, start, last + 1)
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _last_line(state: StateBlock, start: int, end: int, closing: str) -> int:
    for number in range(start + 1, end):
        if state.isEmpty(number) or state.sCount[number] < state.blkIndent:
            return number - 1
        if closing in _line(state, number):
            return number
    return end - 1


def _push_paragraph(state: StateBlock, start: int, end: int) -> None:
    text = state.getLines(start, end, state.blkIndent, False).strip()
    state.line = end
    state.push("paragraph_open", "p", 1).map = [start, end]
    inline = state.push("inline", "", 0)
    inline.content, inline.map, inline.children = text, [start, end], []
    state.push("paragraph_close", "p", -1)


def _render(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: object, env: object
) -> str:
    return f'<span class="math">{escape(tokens[index].content)}</span>'
