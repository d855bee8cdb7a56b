"""A turn's events as values, and as the server-sent messages that apply them to a page. No I/O.

A log begins with a reset: the state so far. Events after it add to that state. However many have
piled up, folding gives one change and one message, and the page ends the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape

from providers.domain.frozen import frozen
from providers.protocols.sse import comment

KEEP_ALIVE = comment("keep-alive")
DONE = b"event: done\ndata:\n\n"


class EventKind(StrEnum):
    RESET = "reset"  # everything so far; replaces what the page shows
    ROUTE = "route"  # the route was chosen; `html` holds the page's parts about it
    REASONING = "reasoning"  # `text` is more of it
    TAIL = "tail"  # `text` is more of the open block
    BLOCK = "block"  # `html` of finished blocks; `tail` is the open block as it now is
    END = "end"  # `html` holds the page's parts with the finished message


@frozen
class Event:
    """`text` is the piece of the answer (or of its reasoning) that the event adds."""

    kind: EventKind
    text: str = ""
    html: str = ""
    tail: str = ""
    code: bool = False  # the open block is a code block
    reasoning: str = ""
    route: str = ""

    def fields(self) -> dict[str, str]:
        """As a Redis stream entry stores it; what is empty is left out."""
        named = {"t": self.text, "h": self.html, "o": self.tail, "r": self.reasoning}
        named |= {"w": self.route, "c": "1" if self.code else ""}
        return {"k": self.kind.value} | {name: value for name, value in named.items() if value}

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Event":
        return cls(
            kind=EventKind(fields["k"]),
            text=fields.get("t", ""),
            html=fields.get("h", ""),
            tail=fields.get("o", ""),
            code="c" in fields,
            reasoning=fields.get("r", ""),
            route=fields.get("w", ""),
        )


@dataclass(slots=True, kw_only=True)
class Change:
    """The changes of a page by a series of events. With `replace`, they are its full state."""

    replace: bool = False
    html: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    new_tail: bool = False  # `tail` replaces the open block instead of adding to it
    code: bool = False
    reasoning: list[str] = field(default_factory=list)
    route: str = ""
    end: str = ""

    def take(self, event: Event) -> None:
        match event.kind:
            case EventKind.ROUTE:
                self.route = event.html
            case EventKind.REASONING:
                self.reasoning.append(event.text)
            case EventKind.TAIL:
                self.tail.append(event.text)
            case EventKind.BLOCK | EventKind.RESET:
                self.html.append(event.html)
                self.tail, self.new_tail, self.code = [event.tail], True, event.code
            case EventKind.END:
                self.end = event.html


def fold(events: Iterable[Event]) -> Change:
    """All that the events do, in one change; events before the last reset do not count."""
    change = Change()
    for event in events:
        if event.kind == EventKind.RESET:
            change = Change(replace=True, reasoning=[event.reasoning], route=event.route)
        change.take(event)
    return change


def join_answer(events: Iterable[Event]) -> tuple[str, str]:
    """The answer's text and its reasoning, from the events of a log."""
    text, reasoning = "", ""
    for event in events:
        if event.kind == EventKind.RESET:
            text, reasoning = event.text, event.reasoning
        elif event.kind == EventKind.REASONING:
            reasoning += event.text
        else:
            text += event.text
    return text, reasoning


def message(turn_id: int, change: Change, event_id: str) -> bytes:
    """One server-sent message. An empty id makes a reader that comes back start afresh."""
    return sse(change.end or "".join(_parts(turn_id, change)), event_id)


def sse(html: str, event_id: str) -> bytes:
    data = html.replace("\r", "").replace("\n", "\ndata: ")
    return f"id: {event_id}\ndata: {data}\n\n".encode()


def _parts(turn_id: int, change: Change) -> list[str]:
    parts = [change.route] if change.route else []
    reasoning, tail = escape("".join(change.reasoning)), escape("".join(change.tail))
    if reasoning or change.replace:
        parts.append(_part(f"reasoning-{turn_id}", change.replace, reasoning))
    if change.html or change.replace:
        parts.append(_part(f"blocks-{turn_id}", change.replace, "".join(change.html)))
    if change.new_tail:
        parts.append(
            _partial(f"tail-{turn_id}", "outerHTML", open_block(turn_id, tail, change.code))
        )
    elif tail:
        parts.append(_partial(f"tail-{turn_id}", "beforeend", tail))
    return parts


def open_block(turn_id: int, escaped: str, code: bool) -> str:
    shape = ' data-kind="code"' if code else ""
    return f'<div class="tail" dir="auto" id="tail-{turn_id}"{shape}>{escaped}</div>'


def _part(target: str, replace: bool, html: str) -> str:
    return _partial(target, "innerHTML" if replace else "beforeend", html)


def _partial(target: str, swap: str, html: str) -> str:
    return f'<hx-partial hx-target="#{target}" hx-swap="{swap}">{html}</hx-partial>'
