"""An answer that is passed through ends well, or is a failure; however its bytes are cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError
from providers.domain.types import Passed
from providers.protocols.endpoint_kinds import ENDPOINTS
from providers.protocols.passed_answers import AnswerForm, FullAnswer, choose_form
from providers.protocols.passed_usage import LARGEST_PARSED

SOUND = "audio/speech"
TYPED = b'data: {"type":"transcript.text.delta"}\n\n'
EVENTS = "text/event-stream"
GOOD = b'data: {"choices":[{"text":"a"}],"x":1}\n\ndata: {"choices":[{"finish_reason":"stop"}]}\n\n'


def read(form: AnswerForm, *chunks: bytes) -> bytes:
    events = [event for chunk in chunks if not form.done for event in form.feed(chunk)]
    return b"".join(each.data for each in [*events, *form.end()] if isinstance(each, Passed))


def form_of(content_type: str, endpoint: str = "completions", *, whole: bool = False) -> AnswerForm:
    return choose_form(ENDPOINTS[endpoint], content_type, non_streaming=whole)


@given(cuts=st.lists(st.integers(0, len(GOOD))))
def test_events_pass_however_they_are_cut(cuts: list[int]) -> None:
    """With their data as it came; the end mark is the door's."""
    places = sorted({0, *cuts, len(GOOD)})
    chunks = [GOOD[a:b] for a, b in pairwise(places)]
    assert read(form_of(EVENTS), *chunks) == GOOD
    assert read(form_of(EVENTS), *chunks, b"data: [DONE]\n\n") == GOOD


@pytest.mark.parametrize(
    ("content_type", "endpoint", "body", "code"),
    [
        (EVENTS, "completions", b'data: {"choices":[{"text":"a"}]}\n\n', "truncated"),
        (EVENTS, "completions", b'data: {"choices":[{"te', "truncated"),
        (
            EVENTS,
            "completions",
            b'data: {"choices":[{"index":1,"text":"a"}]}\n\n'
            b'data: {"choices":[{"index":0,"text":"b","finish_reason":"stop"}]}\n\n',
            "truncated",
        ),
        (EVENTS, "completions", b'data: {"error":{"message":"x","code":"broken"}}\n\n', "broken"),
        (EVENTS, "completions", b"data: [DONE]\n\n", "empty"),
        (
            EVENTS,
            "audio/transcriptions",
            b'data: {"type":"transcript.text.delta"}\n\n',
            "truncated",
        ),
        ("application/json", "embeddings", b'{"data":[', "truncated"),
        ("application/json", "embeddings", b"  ", "empty"),
        ("application/json", "embeddings", b'{"error":{"message":"x","code":"broken"}}', "broken"),
        (
            "application/json",
            "audio/speech",
            b'{"error":{"message":"x","code":"broken"}}',
            "broken",
        ),
        ("audio/mpeg", SOUND, b"", "empty"),
    ],
)
def test_what_is_no_answer(content_type: str, endpoint: str, body: bytes, code: str) -> None:
    with pytest.raises(CallError) as failed:
        read(form_of(content_type, endpoint, whole=content_type != EVENTS), *filter(None, [body]))
    assert failed.value.code == code


@pytest.mark.parametrize("kind", ["transcript.text.done", "image_generation.completed"])
def test_typed_events_end_with_their_last_type(kind: str) -> None:
    body = b"data: %b\n\n" % json.dumps({"type": kind}).encode()
    assert read(form_of(EVENTS, "audio/transcriptions"), body) == body


def test_an_event_after_the_finish_reason_opens_nothing() -> None:
    """Some providers repeat the choice where they report usage."""
    late = b'data: {"choices":[{"text":""}],"usage":{"prompt_tokens":4}}\n\n'
    assert read(form_of(EVENTS), GOOD + late) == GOOD + late


def test_one_json_where_events_were_requested_is_an_event() -> None:
    body = b'{"choices":[{"text":"a","finish_reason":"stop"}]}'
    assert read(form_of("application/json"), body) == b"data: " + body + b"\n\n"


def test_a_large_answer_is_bounded_and_not_parsed() -> None:
    """Beyond a limit it is refused; below it only its end is read."""
    inner = b'{"data":"' + b"x" * LARGEST_PARSED
    whole = inner + b'","usage":{"prompt_tokens":4}}'
    assert read(FullAnswer("application/json", len(whole)), whole) == whole
    for largest, body in ((len(whole) - 1, whole), (len(whole), inner)):
        with pytest.raises(CallError):
            read(FullAnswer("application/json", largest), body)
