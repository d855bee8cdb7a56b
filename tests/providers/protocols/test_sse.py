"""Server-sent events: bytes to events and back, however they are cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.protocols import sse

LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
EVENTS = st.lists(
    st.tuples(st.lists(LINE, min_size=1, max_size=3), LINE.filter(lambda s: s[:1] != " ")),
    max_size=5,
)
CUTS = st.lists(st.integers(0, 400), max_size=20)


def fed(raw: bytes, cuts: list[int] | None = None) -> list[str]:
    """What a parser makes of the bytes when they arrive in pieces."""
    parser, at, found = sse.Parser(), 0, []
    for cut in [*sorted(cuts or ()), len(raw)]:
        found += parser.feed(raw[at : max(at, cut)])
        at = max(at, cut)
    return found + parser.end()


def line_by_line(raw: bytes) -> list[str]:
    """The data of the events, read as the standard describes it: one line after the other."""
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    found: list[str] = []
    data: list[str] = []
    for line in [*re.split("\r\n|\n|\r", text), ""]:
        name, _, value = line.partition(":")
        if not line:
            found.append("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif line.startswith("{"):
            data.append(line)
    return [each for each in found if each]


TOKENS = ["data: ", "data:", "data", "\n", "\n", "\r", "\r\n", "event: x", ":", "{", "a", " ", "é"]


@given(st.lists(st.sampled_from([*TOKENS, "\ufeff"]), max_size=30), CUTS)
def test_any_mixture_of_lines_is_read_as_line_by_line(tokens: list[str], cuts: list[int]) -> None:
    """Events whose one line is read at once are the same as all others."""
    raw = "".join(tokens).encode()
    assert fed(raw, cuts) == line_by_line(raw)


@given(events=EVENTS, cuts=CUTS, line_end=st.sampled_from(["\n", "\r\n", "\r"]), bom=st.booleans())
def test_any_cut_and_any_line_end_gives_the_same_events(
    events: list[tuple[list[str], str]], cuts: list[int], line_end: str, bom: bool
) -> None:
    """Chunk borders, CR, LF, CRLF and a byte order mark change nothing."""
    raw = b"".join(sse.encode("\n".join(lines), event=name) for lines, name in events)
    raw = raw.replace(b"\n", line_end.encode())
    raw = ("\ufeff".encode() if bom else b"") + raw
    assert fed(raw, cuts) == [data for lines, _ in events if (data := "\n".join(lines))]


NOISE = st.sampled_from([": ping", ":", "retry: 3", "nonsense", "nonsense: 1"])


@given(events=EVENTS, noise=st.lists(st.tuples(st.integers(0, 60), NOISE)), cuts=CUTS)
def test_comments_and_unknown_fields_change_nothing(
    events: list[tuple[list[str], str]], noise: list[tuple[int, str]], cuts: list[int]
) -> None:
    """Wherever between two lines they are: proxies keep connections alive with them."""
    raw = b"".join(sse.encode("\n".join(lines), event=name) for lines, name in events)
    lines = raw.decode().split("\n")
    for at, line in noise:
        lines.insert(min(at, len(lines) - 1), line)
    noisy = "\n".join(lines).encode()
    assert fed(noisy, cuts) == fed(raw)


@given(text=LINE.filter(bool), line_end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_bytes_that_come_one_by_one_lose_nothing(text: str, line_end: str) -> None:
    """A character of several bytes is cut in all its places; so is CRLF."""
    raw = sse.encode(f"你好 {text} é").replace(b"\n", line_end.encode())
    assert fed(raw, list(range(len(raw)))) == [f"你好 {text} é"]


@given(st.binary(max_size=300), CUTS)
def test_no_bytes_break_the_parser(raw: bytes, cuts: list[int]) -> None:
    """Garbage gives the same events in one piece and in many, and never an exception."""
    assert fed(raw, cuts) == fed(raw)


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b": ping\n\ndata: a\n\n", ["a"]),
        (b"event: x\ndata: a\n\ndata: b\n\n", ["a", "b"]),
        (b"event: x\n\n", []),
        (b"data\n\n", []),
        (b"retry: 5\nunknown: 1\ndata: a\n\n", ["a"]),
        (b"data: a", ["a"]),
        (b"data: a\r", ["a"]),
        (b'{"a": 1}\n\n', ['{"a": 1}']),
        (b"", []),
    ],
)
def test_the_standard_is_followed(raw: bytes, events: list[str]) -> None:
    """Spaces, comments, nameless fields; an end of file closes the last event."""
    assert fed(raw) == events


def test_what_waits_is_counted() -> None:
    """A line without an end grows, and its reader can notice."""
    parser = sse.Parser()
    parser.feed(b"data: " + b"x" * 1000)
    assert parser.waiting >= 1000


def test_a_comment_is_no_event() -> None:
    """It only keeps a connection alive."""
    assert fed(sse.comment("ping")) == []
