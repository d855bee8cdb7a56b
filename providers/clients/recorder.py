"""Record one call and its response for display: without secrets, and no longer than a page. No I/O.

Only tests of a provider record, by way of `recording`; other traffic costs nothing more.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from providers.domain import http_headers
from providers.domain.frozen import frozen
from providers.domain.redaction import HIDDEN, longest_spelling, redact

MAX_BODY = 2048  # bytes of a body that are shown

recording: ContextVar["Recorder | None"] = ContextVar("recording", default=None)


@frozen
class Exchange:
    """One call as it may be shown. `status` is None where no answer came."""

    request_line: str
    sent: str
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    received: str = ""
    cut: bool = False

    @classmethod
    def restore(cls, fields: Mapping[str, Any]) -> Self:
        """The Exchange of its JSON."""
        headers = tuple((str(name), str(value)) for name, value in fields["headers"])
        return cls(**{**fields, "headers": headers})

    @property
    def answer(self) -> str:
        """Status, headers and the beginning of the body, as HTTP writes them."""
        head = [f"HTTP {self.status}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join((*head, "", self.received)).strip()

    def header(self, name: str) -> str:
        """An answer's header; empty where there was none."""
        return next((text for field, text in self.headers if field.lower() == name), "")

    @property
    def limits(self) -> tuple[tuple[str, str], ...]:
        """The response's rate limit headers, by the provider's own names."""
        return tuple((n, v) for n, v in self.headers if re.search("ratelimit|retry-after", n, re.I))


class Recorder:
    """Records the calls made while it is `recording`; the last one is kept."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = frozenset(secrets)
        self._longest = longest_spelling(self._secrets)
        self._request_line = ""
        self._sent = ""
        self._status: int | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._received = bytearray()
        self._cut = False

    @contextmanager
    def listening(self) -> Iterator[Self]:
        token = recording.set(self)
        try:
            yield self
        finally:
            recording.reset(token)

    def record_request(
        self, method: str, url: str, headers: Mapping[str, str], body: object
    ) -> None:
        """Records a call that is about to go out."""
        self._request_line = self._clean(f"{method} {url}")
        head = "\n".join(f"{name}: {value}" for name, value in self._safe_headers(headers.items()))
        payload = "" if body is None else json.dumps(_without_keys(body), ensure_ascii=False)
        self._sent = f"{head}\n\n{self._clean(payload)[:MAX_BODY]}".strip()
        self._status, self._headers, self._cut = None, (), False
        self._received.clear()

    def record_response(self, response: Any) -> None:
        """Records the response's head; its body is recorded as it is read."""
        self._status = response.status
        self._headers = tuple(self._safe_headers(response.headers.items()))
        response.content = _RecordedContent(response.content, self._record_chunk)

    @property
    def exchange(self) -> Exchange | None:
        """The last call; None where none went out."""
        if not self._request_line:
            return None
        received = self._clean(self._received.decode("utf-8", "replace"))
        if self._cut and self._longest:  # the end may be half of a secret
            received = received[: -self._longest]
        return Exchange(
            request_line=self._request_line,
            sent=self._sent,
            status=self._status,
            headers=self._headers,
            received=received[:MAX_BODY],
            cut=self._cut or len(received) > MAX_BODY,
        )

    def _record_chunk(self, chunk: bytes) -> None:
        room = MAX_BODY + self._longest - len(self._received)
        self._received += chunk[:room]
        self._cut = self._cut or len(chunk) > room

    def _safe_headers(self, headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for name, value in headers:
            shown = self._clean(name)
            if http_headers.is_secret(name):
                yield shown, HIDDEN
            elif name.lower() in ("location", "content-location"):
                yield shown, self._clean(_without_credentials(value))
            else:
                yield shown, self._clean(value)[:500]

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)


def _without_keys(body: object) -> object:
    """The body without what names itself a key or headers, however short."""
    if not isinstance(body, Mapping):
        return body
    return {
        name: HIDDEN if value and name in ("api_key", "headers") else _without_keys(value)
        for name, value in body.items()
    }


def _without_credentials(address: str) -> str:
    """A redirect's target, without what may be a credential in it."""
    try:
        parts = urlsplit(address)
        return urlunsplit(
            parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        )
    except ValueError:
        return HIDDEN


class _RecordedContent:
    """A body whose bytes are recorded as they are read."""

    def __init__(self, content: Any, record: Any) -> None:
        self._content = content
        self._record_chunk = record

    async def readany(self) -> bytes:
        chunk: bytes = await self._content.readany()
        self._record_chunk(chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)
