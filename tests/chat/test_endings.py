"""What is shown below an answer, for every meaning that a finish reason can have."""

import pytest

from chat.endings import NONE, note
from providers.protocols.finish import Ending

ERRORS = {Ending.CONTEXT_FULL, Ending.OVERLOADED, Ending.FAILED}  # never of a finished answer


@pytest.mark.parametrize(
    ("reason", "words", "continues"),
    [
        ("length", "Cut off at the token limit.", True),
        ("MAX_TOKENS", "Cut off at the token limit.", True),
        ("max_tokens", "Cut off at the token limit.", True),
        ("pause_turn", "Paused by the vendor.", True),
        ("content_filter", "Stopped by the vendor's filter.", False),
        ("sensitive", "Stopped by the vendor's filter.", False),
        ("refusal", "The model refused to go on.", False),
        ("brand_new", "Ended for an unknown reason: brand_new.", False),
        ("stop", "", False),
        ("end_turn", "", False),
        ("", "", False),
    ],
)
def test_a_cut_answer_does_not_look_finished(reason: str, words: str, continues: bool) -> None:
    """By the vendor's own word, however it is spelled."""
    shown = note(reason, text=True, reasoning=False)
    assert (shown.text, shown.continues) == (words, continues)
    assert shown.warns == bool(words)


@pytest.mark.parametrize(
    ("reason", "reasoning", "words"),
    [
        ("length", True, "Thought until the limit, no answer."),
        ("length", False, "Cut off at the token limit before a word."),
        ("stop", True, "The model thought, and gave no answer."),
        ("stop", False, "The answer has no text. Its other parts cannot be shown here."),
        ("tool_calls", False, "The model called a tool and wrote no answer."),
        ("content_filter", True, "Stopped by the vendor's filter."),
    ],
)
def test_an_answer_without_text_says_why(reason: str, reasoning: bool, words: str) -> None:
    """There is nothing to go on from."""
    shown = note(reason, text=False, reasoning=reasoning)
    assert (shown.text, shown.continues) == (words, False)


@pytest.mark.parametrize("ending", sorted(set(Ending) - ERRORS))
def test_every_meaning_is_covered(ending: Ending) -> None:
    """A meaning that is added later has to be said as well."""
    reasons = {Ending.UNKNOWN: "brand_new", Ending.COMPLETE: "stop", Ending.TOOL_CALLS: "tool_use"}
    reasons |= {Ending.LENGTH: "length", Ending.PAUSED: "pause_turn"}
    reasons |= {Ending.FILTERED: "safety", Ending.REFUSED: "refusal"}
    quiet = ending in (Ending.COMPLETE, Ending.TOOL_CALLS)
    assert (note(reasons[ending], text=True, reasoning=True) == NONE) == quiet
