"""Server-sent events: bytes to events and back, however the bytes are cut. No I/O.

Follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream": CR, LF or CRLF end a
line, a leading byte order mark is dropped, a comment begins with a colon, data lines are joined.
"""

import codecs
import re

from providers.domain.frozen import frozen

# What a proxy must not do to a stream: nginx holds it back, compressors collect it.
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_LINE_END = re.compile("\r\n|\n|\r")


@frozen
class ServerEvent:
    """One dispatched event. `id` is the last id seen in the stream, as the standard keeps it."""

    data: str
    event: str = ""
    id: str = ""


class Parser:
    """Feed it bytes, get whole events; what is incomplete waits for more."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""
        self._begun = False
        self._data: list[str] = []
        self._size = 0  # of the data, in characters
        self._event = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that these bytes complete."""
        text = self._rest + self._decode(chunk)
        if not self._begun and text:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if "\r" not in text:  # nearly always
            *lines, self._rest = text.split("\n")
        else:
            # A CR at the very end may be the first half of a CRLF.
            held = "\r" if text.endswith("\r") else ""
            *lines, rest = _LINE_END.split(text[: len(text) - len(held)])
            self._rest = rest + held
        return [event for line in lines if (event := self._take(line))]

    def end(self) -> list[ServerEvent]:
        """The event that the end of the file completes, where its last empty line is missing."""
        found = self.feed(b"")
        line, self._rest = self._rest.removesuffix("\r"), ""
        found += [event for last in (line, "") if (event := self._take(last))]
        return found

    @property
    def waiting(self) -> int:
        """How many characters wait for the end of their event."""
        return len(self._rest) + self._size

    def _take(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif line[0] == "{":  # beyond the standard: some servers forget the field's name
            self._data.append(line)
            self._size += len(line) + 1
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, event = self._data, self._event
        self._data, self._size, self._event = [], 0, ""
        return ServerEvent(data="\n".join(data), event=event, id=self._id) if data else None


def encode(data: str, *, event: str = "", id: str = "") -> bytes:
    """One event as bytes; line ends in the data become lines of their own."""
    fields = []
    if id:
        fields.append(f"id: {id}")
    if event:
        fields.append(f"event: {event}")
    fields += [f"data: {line}" for line in _LINE_END.split(data)]
    return ("\n".join(fields) + "\n\n").encode()


def comment(text: str = "") -> bytes:
    """A comment, which keeps a connection alive and is read by nobody."""
    return f": {text}\n\n".encode()
