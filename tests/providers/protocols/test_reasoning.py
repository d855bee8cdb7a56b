"""Reasoning and answer are separated, however the text is cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.protocols.reasoning import ReasoningSplitter, content_parts, split

FENCED = "Use this:\n\n```xml\n<think>\nx\n</think>\n```\n\nThat is all."


def in_pieces(pieces: list[str]) -> tuple[str, str]:
    """(reasoning, text) as a reader gathers them."""
    splitter, reasoning, text = ReasoningSplitter(), "", ""
    for found in [*map(splitter.feed, pieces), splitter.end()]:
        if found.retracts:
            reasoning, text = reasoning + text, ""
        reasoning, text = reasoning + found.reasoning, text + found.text
    return reasoning.strip(), text


TABLE = [
    ("<think>I muse.</think>\n\nHello", "I muse.", "Hello"),
    ("<thinking>\nI muse.\n</thinking>\nHello", "I muse.", "Hello"),
    ("\n <think>I muse.</think>Hello", "I muse.", "Hello"),
    ("<think>\n\n</think>\n\nHello", "", "Hello"),
    ("<think>a</think>\n<think>b</think>\nHello", "ab", "Hello"),
    ("<think>a < b </thin c</think>Hello", "a < b </thin c", "Hello"),
    # Never closed, and closed alone.
    ("<think>I muse", "I muse", ""),
    ("<think>I muse </thi", "I muse </thi", ""),
    ("I muse.\n</think>\n\nHello", "I muse.", "Hello"),
    ("Is `x` < y? I muse.</think>\n\nHello </think>", "Is `x` < y? I muse.", "Hello </think>"),
    # What belongs to the answer.
    (FENCED, "", FENCED),
    ("Write `</think>` at its end.", "", "Write `</think>` at its end."),
    ("It writes <think> and </think>.", "", "It writes <think> and </think>."),
    ("```\n</think>\n```\nmuse</think>Hello", "```\n</think>\n```\nmuse", "Hello"),
    ("<think>a</think>Hello <think>b</think>", "a", "Hello <think>b</think>"),
    ("<thinks>Hello", "", "<thinks>Hello"),
    ("  Hello <", "", "  Hello <"),
    (" \n", "", " \n"),
    ("", "", ""),
]


@pytest.mark.parametrize(("said", "reasoning", "text"), TABLE)
def test_reasoning_is_what_stands_between_tags_at_the_beginning(
    said: str, reasoning: str, text: str
) -> None:
    """Or before a closing tag that is alone; in code a tag is a word like any other."""
    found = split(said)
    assert (found.reasoning, found.text) == (reasoning, text)


@pytest.mark.parametrize("said", [said for said, _, _ in TABLE])
@given(cuts=st.lists(st.integers(0, 90), max_size=8))
def test_the_cuts_make_no_difference(said: str, cuts: list[int]) -> None:
    """Even within a tag."""
    edges = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    pieces = [said[a:b] for a, b in pairwise(edges)]
    whole = split(said)
    assert in_pieces(pieces) == (whole.reasoning, whole.text)
    assert in_pieces(list(said)) == (whole.reasoning, whole.text)


BITS = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</thinking>", "\n", " ", "a", "`", "```\n", "<", "</th"]
)


@given(st.lists(BITS, max_size=12), st.lists(st.integers(0, 60), max_size=6))
def test_any_text_is_split_the_same_however_it_is_cut(bits: list[str], cuts: list[int]) -> None:
    """And nothing but tags and blanks is lost."""
    said = "".join(bits)
    edges = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    pieces = [said[a:b] for a, b in pairwise(edges)]
    reasoning, text = in_pieces(pieces)
    assert (reasoning, text) == in_pieces([said])
    assert reasoning.count("a") + text.count("a") == said.count("a")


def test_an_answer_without_tags_is_not_held_back() -> None:
    """Each piece is given as it comes."""
    splitter = ReasoningSplitter()
    assert [splitter.feed(piece).text for piece in ("Hel", "lo ", "you")] == ["Hel", "lo ", "you"]


def test_parts_of_a_content_list_are_separated() -> None:
    """Thinking parts hold parts, or a text."""
    nested = {"type": "thinking", "thinking": [{"type": "text", "text": "I muse."}]}
    plain = {"type": "thinking", "thinking": "More."}
    found = content_parts([nested, plain, {"type": "text", "text": "Hello"}, "odd"])
    assert (found.reasoning, found.text) == ("I muse.More.", "Hello")
