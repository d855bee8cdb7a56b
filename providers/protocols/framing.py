"""The bytes of an answer to the texts in it, one for each JSON payload. No I/O.

What an answer is shows in its first character, for content types are often wrong: a JSON body is
one text at its end, an event stream one for each event that has data. Anything else is no answer.
"""

from providers.domain.errors import CallError, ErrorKind
from providers.protocols import sse

LARGEST_BODY = 16 * 1024 * 1024  # bytes of a full answer or a catalogue; OpenRouter's has 0.5 MB
LARGEST_EVENT = 4 * 1024 * 1024  # characters of one event

_BOM = b"\xef\xbb\xbf"  # some servers begin their JSON with it


class Framing:
    """Takes an answer's bytes, however they are cut, and gives its texts."""

    def __init__(self) -> None:
        self._parser = sse.Parser()
        self._begun = False
        self._body: bytearray | None = None

    @property
    def is_stream(self) -> bool:
        return self._body is None

    def feed(self, chunk: bytes) -> list[str]:
        """The texts that these bytes complete."""
        if not self._begun:
            chunk = chunk.removeprefix(_BOM)
            if first := chunk.lstrip()[:1]:
                self._begun = True
                self._body = bytearray() if first in b"{[<" else None
        if self._body is None:
            return self._parser.feed(chunk)
        self._body += chunk
        return []

    def end(self) -> list[str]:
        """The text that the end of the file completes: of a stream, one without its empty line."""
        if self._body is None:
            return self._parser.end()
        return [self._body.decode("utf-8", "replace")]

    def check(self) -> None:
        """Raises CallError where more has gathered than an answer can be."""
        waiting = self._parser.waiting > LARGEST_EVENT
        if waiting or (self._body is not None and len(self._body) > LARGEST_BODY):
            raise not_json()


def not_json() -> CallError:
    return CallError(ErrorKind.PROVIDER, "The answer was not the JSON it should be.", code="json")
