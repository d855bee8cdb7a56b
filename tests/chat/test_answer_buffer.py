"""An answer's log events and columns, as it grows and however it ends."""

from chat.answer_buffer import AnswerBuffer
from chat.events import Event, EventKind, join_answer
from chat.models import Status
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import (
    AttemptRecord,
    Completed,
    ReasoningDelta,
    TextDelta,
    TextWasReasoning,
    Usage,
)
from tests.chat.conftest import DONE, ROUTE


def growing(*texts: str) -> tuple[AnswerBuffer, list[Event]]:
    taken, log = AnswerBuffer(lambda route: f"<chip {route.model}>"), []
    for text in texts:
        taken.take(TextDelta(text=text))
        log += taken.events(full=False)
    return taken, log


def test_pieces_between_two_looks_are_one_event() -> None:
    """Tokens come faster than logs are written."""
    taken = AnswerBuffer(lambda _: "")
    for text in ("a", "b", "c"):
        taken.take(TextDelta(text=text))
    assert taken.events(full=False) == [Event(kind=EventKind.TAIL, text="abc")]
    assert taken.events(full=False) == []


def test_a_finished_block_brings_its_html_and_the_new_tail() -> None:
    """The page replaces the open block then."""
    _, log = growing("One.\n", "\nTw")
    assert log[0] == Event(kind=EventKind.TAIL, text="One.\n")
    assert log[1] == Event(kind=EventKind.BLOCK, text="\nTw", html="<p>One.</p>\n", tail="Tw")


def test_the_route_is_reported_once_and_first() -> None:
    """Before the first piece of the text."""
    taken = AnswerBuffer(lambda route: f"<chip {route.model}>")
    taken.take(ROUTE)
    taken.take(ReasoningDelta(text="Hm."))
    kinds = [event.kind for event in taken.events(full=False)]
    assert kinds == [EventKind.ROUTE, EventKind.REASONING]
    assert taken.columns()["model_name"] == "tiny"


def test_a_log_that_begins_anew_begins_with_everything() -> None:
    """One event that holds the state so far, and the text for whoever takes over."""
    taken, _ = growing("One.\n\n", "```py\n", "x")
    [reset] = taken.events(full=True)
    assert (reset.html, reset.tail, reset.code) == ("<p>One.</p>\n", "```py\nx", True)
    assert join_answer([reset]) == ("One.\n\n```py\nx", "")


def test_text_that_was_reasoning_is_taken_back() -> None:
    """Readers get the answer from its beginning: their text becomes reasoning."""
    taken, _ = growing("I muse.\n\n", "Still.")
    taken.take(TextWasReasoning())
    taken.take(ReasoningDelta(text=" Done."))
    taken.take(TextDelta(text="Hello"))
    [reset] = taken.events(full=False)
    assert join_answer([reset]) == ("Hello", "I muse.\n\nStill. Done.")
    assert (reset.html, reset.tail) == ("", "Hello")
    taken.take(TextDelta(text="!"))
    assert taken.events(full=False) == [Event(kind=EventKind.TAIL, text="!")]
    assert taken.last_columns(stopped=False)["text"] == "Hello!"


def test_a_good_end() -> None:
    """Text, HTML and figures; nothing is left in the tail."""
    taken, _ = growing("One.\n\nTwo")
    taken.take(DONE)
    columns = taken.last_columns(stopped=False)
    assert (columns["status"], columns["text"]) == (Status.DONE, "One.\n\nTwo")
    assert columns["html"] == "<p>One.</p>\n<p>Two</p>\n"
    assert (columns["output_tokens"], columns["error"]) == (5, None)


def test_a_break_after_content_keeps_the_text() -> None:
    """Interrupted, with the reason."""
    taken, _ = growing("One")
    error = CallError(ErrorKind.PROVIDER, "It broke off.")
    taken.take(
        Completed(attempts=(), usage=Usage(), cost=None, finish_reason="", error=error),
    )
    columns = taken.last_columns(stopped=False)
    assert (columns["status"], columns["text"]) == (Status.INTERRUPTED, "One")
    assert columns["error"]["message"] == "It broke off."


def test_a_plan_that_failed_lists_its_routes(failed_attempt: AttemptRecord) -> None:
    """Each with its own words, and one sentence on what to do."""
    taken, _ = growing()
    taken.fail(CallError(ErrorKind.AUTH, "Authentication failed."), (failed_attempt,))
    columns = taken.last_columns(stopped=False)
    assert columns["status"] == Status.FAILED
    assert columns["error"]["attempts"][0]["message"] == "Connection refused."
    assert "key" in columns["error"]["advice"]


def test_a_stop_is_no_error() -> None:
    """What had come is kept."""
    taken, _ = growing("On")
    columns = taken.last_columns(stopped=True)
    assert (columns["status"], columns["text"], columns["error"]) == (Status.STOPPED, "On", None)


def test_what_was_recovered_is_interrupted_if_visible_and_failed_if_not() -> None:
    """A runner died over it."""
    taken, _ = growing()
    taken.recover("One", "")
    assert taken.last_columns(stopped=False, lost=True)["status"] == Status.INTERRUPTED
    empty, _ = growing()
    assert empty.last_columns(stopped=False, lost=True)["status"] == Status.FAILED


def test_a_pair_of_surrogates_cut_in_two_is_one_character() -> None:
    """Some providers cut an emoji's JSON escape in the middle."""
    taken, log = growing("a\ud83d", "\ude00b")
    assert [event.text for event in log] == ["a", "😀b"]
    assert taken.columns()["text"] == "a😀b"


def test_what_postgres_cannot_hold_is_replaced() -> None:
    """Zero bytes and halves of pairs that stay alone."""
    taken, _ = growing("a\0b", "\udc00c\ud83d")
    assert taken.last_columns(stopped=False)["text"] == "a\ufffdb\ufffdc\ufffd"


def test_a_continued_answer_keeps_its_beginning_whatever_turns_out_to_be_reasoning() -> None:
    """Only this run's text moves; the beginning is no news of it."""
    going = AnswerBuffer(lambda _: "")
    going.recover("Half an ans", "Hm.", continued=11)
    assert not going.visible
    going.take(TextDelta(text="so, "))
    assert going.visible
    going.take(TextWasReasoning())
    going.take(TextDelta(text="wer"))
    columns = going.last_columns(stopped=False)
    assert (columns["text"], columns["reasoning"]) == ("Half an answer", "Hm.so, ")
    assert columns["html"] == "<p>Half an answer</p>\n"
