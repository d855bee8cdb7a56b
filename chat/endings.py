"""What is shown below an answer that did not end by itself, and whether it can go on. Pure."""

from collections.abc import Mapping

from providers.domain.frozen import frozen
from providers.protocols import finish
from providers.protocols.finish import Ending

CONTINUE = "Continue exactly where you stopped. Write only what follows."
"""The request that goes out after a cut answer; people never see it."""


@frozen
class Note:
    """`continues`: the reader can request the rest. `warns`: the answer is incomplete."""

    text: str = ""
    continues: bool = False
    warns: bool = False


NONE = Note()
_NOTES: Mapping[Ending, Note] = {
    Ending.LENGTH: Note(text="Cut off at the token limit.", continues=True, warns=True),
    Ending.PAUSED: Note(text="Paused by the vendor.", continues=True, warns=True),
    Ending.FILTERED: Note(text="Stopped by the vendor's filter.", warns=True),
    Ending.REFUSED: Note(text="The model refused to go on.", warns=True),
}
_SILENT = frozenset({Ending.COMPLETE, Ending.TOOL_CALLS})


def note(reason: str, *, text: bool, reasoning: bool) -> Note:
    """For a finished answer's finish reason, as the vendor sent it; `text`: it has some."""
    ending = finish.ending(reason) if finish.is_given(reason) else Ending.COMPLETE
    if not text and (empty := _empty(ending, reasoning=reasoning)):
        return Note(text=empty, warns=ending not in _SILENT)
    if ending in _SILENT:
        return NONE
    return _NOTES.get(ending) or Note(text=f"Ended for an unknown reason: {reason}.", warns=True)


def _empty(ending: Ending, *, reasoning: bool) -> str:
    if ending == Ending.LENGTH:
        return "Thought until the limit, no answer." if reasoning else _CUT_AT_ONCE
    if ending == Ending.TOOL_CALLS:
        return "The model called a tool and wrote no answer."
    if ending == Ending.COMPLETE:
        return "The model thought, and gave no answer." if reasoning else _NOT_SHOWN
    return ""


_CUT_AT_ONCE = "Cut off at the token limit before a word."
_NOT_SHOWN = "The answer has no text. Its other parts cannot be shown here."
