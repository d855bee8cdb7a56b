"""What answers are made of: formulas as they were written, headings, tasks, footnotes."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.answer_buffer import AnswerBuffer
from chat.markdown import document
from providers.domain.types import Completed, TextDelta, Usage

TAG = re.compile(r"<[^>]*>")
FORMULAS = [
    r"\(a_1 + b_2 \\ c\)",
    r"\[ \sum_{i=1}^{n} x_i * y_i * z_i \]",
    r"$$\frac{a}{b} \\ \text{x_y_z}$$",
    "$a_1 * b_1 * c_1$",
    "\\[\n- a_1 \\\\\n+ b_1 \\\\\n# c\n> d\n1. e\n\\]",
    "$$\n\\begin{aligned}\n  x &= y_1 \\\\[2pt]\n  &= *z*\n\\end{aligned}\n$$",
    "\\begin{align*}\na &= b_1 \\\\\n- c &= d_1\n\\end{align*}",
    r"\(\alpha < \beta & \gamma\)",
    r"\[\left\{ x \mid x_1 \_ y \right\} \%\]",
    r"$x_{`a`}$",
]


def text_of(html: str) -> str:
    """What a reader sees."""
    return unescape(TAG.sub("", html))


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    "around", ["{}", "Text _before_:\n{}\nand after", "- an item with\n\n  {}\n", "> {}"]
)
def test_a_formula_is_kept_as_it_was_written(formula: str, around: str) -> None:
    """Every backslash, underscore and asterisk, alone, in a text, a list, a quote."""
    lines = formula.split("\n")
    indent = {"- ": "\n  ", "> ": "\n> "}.get(around[:2], "\n")
    html = document(around.format(indent.join(lines)))
    formulas = re.findall(r'<span class="math">(.*?)</span>', html, re.DOTALL)
    assert [unescape(each) for each in formulas] == [formula]


def test_a_formula_within_a_text_is_kept() -> None:
    """Beside emphasis, in a cell, in a heading."""
    html = document("# On $a_1$\n\n**so \\(b_1 * c_1\\)**\n\n| x |\n|--|\n| \\(d_1 * e_1\\) |\n")
    formulas = re.findall(r'<span class="math">(.*?)</span>', html)
    assert formulas == ["$a_1$", r"\(b_1 * c_1\)", r"\(d_1 * e_1\)"]


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5, not $10.",
        "From US$5 to US$10 or 6$ to 7$.",
        "Set $HOME and $PATH first.",
        r"Escaped \$a_1\$ and \\(x\\).",
        r"\(never closed",
        r"Empty \(\) and $$$$.",
        "`$a_1$` is code",
    ],
)
def test_what_is_no_formula_is_none(text: str) -> None:
    """Prices, variables, code, and what is never closed."""
    assert 'class="math"' not in document(text)


@given(st.text(alphabet="\\()[]$ab_*{} \n", max_size=60))
def test_no_text_with_delimiters_is_lost(text: str) -> None:
    """Letters and digits come out as they went in, whatever is taken for a formula."""
    kept = re.sub(r"[^ab]", "", text_of(document(text)))
    assert kept == re.sub(r"[^ab]", "", text) or "](" in text or "]:" in text


def test_many_openings_without_an_end_are_quick() -> None:
    """Twenty thousand of them: each looks no further than a formula may be long."""
    assert text_of(document(r"\(x " * 20_000)).count("(x") == 20_000


def test_each_heading_has_a_level_of_its_own() -> None:
    """Below the page's own two; the style sheet gives each its size."""
    html = document("# a\n\n## b\n\n### c\n\n#### d")
    assert re.findall(r"<h(\d)>", html) == ["3", "4", "5", "6"]


def test_a_task_list_shows_boxes_that_cannot_be_changed() -> None:
    """Each box is named by its text."""
    html = document("- [ ] Buy *tea*\n- [x] Boil water\n- [y] no task\n")
    boxes = re.findall(r"<label><input[^>]*>[^\n]*</label>", html)
    assert len(boxes) == 2
    assert all('type="checkbox"' in box and "disabled" in box for box in boxes)
    assert [("checked" in box, text_of(box).strip()) for box in boxes] == [
        (False, "Buy tea"),
        (True, "Boil water"),
    ]
    assert "[y] no task" in html


FOOTNOTES = (
    "Tea[^a] is old[^b].\n\nMore[^a].\n\n[^a]: A *drink*.\n\n[^b]: Very, see <https://a.b>.\n"
)


def test_footnotes_link_there_and_back_within_their_message() -> None:
    """Two messages on one page have no id in common; the links stay in this window."""
    html, other = document(FOOTNOTES, "7"), document(FOOTNOTES, "8")
    ids = re.findall(r' id="([^"]+)"', html)
    links = re.findall(r' href="#([^"]+)"', html)
    assert len(ids) == len(set(ids)) == 5
    assert set(links) <= set(ids)
    assert not set(ids) & set(re.findall(r' id="([^"]+)"', other))
    assert not re.search(r'<a href="#[^>]*target', html)
    assert "<em>drink</em>" in html
    assert 'href="https://a.b" target="_blank"' in html
    assert html.count('aria-label="Back to reference') == 3


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answers_footnotes_are_there_at_its_end(size: int) -> None:
    """They are defined last: until then a reference is shown as it was written."""
    answer = AnswerBuffer(lambda _: "", name="7")
    streamed = ""
    for at in range(0, len(FOOTNOTES), size):
        answer.take(TextDelta(text=FOOTNOTES[at : at + size]))
        streamed += "".join(event.html for event in answer.events(full=False))
    assert "footnotes" not in streamed
    done = Completed(attempts=(), usage=Usage(), cost=None, finish_reason="stop")
    answer.take(done)
    assert answer.last_columns(stopped=False)["html"] == document(FOOTNOTES, "7")
    assert "Tea[^a] is old[^b]." in streamed or size == 1000
