"""Server-sent events: bytes to events and back, however the bytes are cut. No I/O.

Follows the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream": CR, LF or CRLF end a
line, a leading byte order mark is dropped, a comment begins with a colon, data lines are joined.
"""

import codecs
import re

# What a proxy must not do to a stream: nginx holds it back, compressors collect it.
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_LINE_END = re.compile("\r\n|\n|\r")


class Parser:
    """Turns bytes into the data of whole events; what is incomplete waits for more.

    Names and ids of events are skipped: every format read here repeats its event's type in the
    data. Events without data are left out.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""  # of an event whose empty line has not come yet
        self._begun = False

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that these bytes complete."""
        text = self._rest + self._decode(chunk)
        if not self._begun and text:
            self._begun = True
            text = text.removeprefix("\ufeff")
        held = ""
        if "\r" in text:
            # A CR at the very end may be the first half of a CRLF.
            held = "\r" if text.endswith("\r") else ""
            text = _LINE_END.sub("\n", text.removesuffix("\r"))
        *events, rest = text.split("\n\n")
        self._rest = rest + held
        return [
            data
            for event in events
            if (
                data := event[6:]
                if event.startswith("data: ") and "\n" not in event  # nearly always
                else _event_data(event)
            )
        ]

    def end(self) -> list[str]:
        """The data of the event that the end of the file completes without an empty line."""
        data, self._rest = _event_data(self._rest.removesuffix("\r")), ""
        return [data] if data else []

    @property
    def waiting(self) -> int:
        """How many characters wait for the end of their event."""
        return len(self._rest)


def _event_data(event: str) -> str:
    """The data of one event, given as its lines."""
    data = []
    for line in event.split("\n"):
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif line.startswith("{"):  # beyond the standard: some servers omit the field's name
            data.append(line)
    return "\n".join(data)


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
