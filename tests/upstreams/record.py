"""One request as the fake provider saw it, from its first byte to how it ended."""

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Record:
    """Times are `time.monotonic()`, the same in every process of a machine.

    `behaviour` is what it got, `has_headers` whether the headers of a streamed answer were sent,
    `written` how many bytes of the answer were handed to the system, and `disconnected_at` is set
    where the reader left before the answer was `finished`.
    """

    path: str
    query: dict[str, str] = field(default_factory=dict)
    model: str = ""
    behaviour: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    authorized: bool = False
    started: float = field(default_factory=time.monotonic)
    has_headers: bool = False
    written: int = 0
    disconnected_at: float | None = None
    finished: bool = False
