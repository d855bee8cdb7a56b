"""Tool calls as OpenAI's format has them, whatever a vendor makes of index, id and name. No I/O.

Each call has one number, counted from 0; its id, type and name come once, on its first piece. An id
that has not been seen is a new call. https://platform.openai.com/docs/api-reference/chat-streaming
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

type Json = Mapping[str, Any]


@dataclass(slots=True)
class _Call:
    """What is known of one call so far. `id` is the vendor's, empty where it gave none."""

    number: int
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def is_full(self) -> bool:
        """Whether its arguments are complete JSON, so that no more can follow."""
        try:
            json.loads("".join(self.arguments))
        except ValueError:
            return False
        return True


class Numbering:
    """Numbers the tool calls of one answer, as their pieces arrive."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_place: dict[int, _Call] = {}

    def number(self, pieces: Iterable[Json]) -> list[Json]:
        """The pieces of one chunk in the standard form; one that has it already is returned as is.

        Pieces without an index are distinguished by their place in the chunk's list.
        """
        listed = list(pieces)
        return [
            self._number_piece(piece, self._place_of(piece, at, alone=len(listed) == 1))
            for at, piece in enumerate(listed)
        ]

    @staticmethod
    def _place_of(piece: Json, at: int, *, alone: bool) -> int | None:
        """The given index; else a place in the list, counted below zero; None for a lone piece."""
        index = piece.get("index")
        if type(index) is int and index >= 0:
            return index
        return None if alone else -1 - at

    def _number_piece(self, piece: Json, place: int | None) -> Json:
        function = _function(piece)
        call = self._find_call(piece, function, place)
        begins = call is None
        if call is None:
            call = self._add_call(_id(piece), place)
        if place is not None:
            self._by_place[place] = call
        made = (
            _first_piece(piece, function, call) if begins else _later_piece(piece, function, call)
        )
        call.arguments.append(_string(_function(made), "arguments"))
        return piece if piece == made else made

    def _find_call(self, piece: Json, function: Json, place: int | None) -> _Call | None:
        """The call that a piece continues; None where it begins one."""
        piece_id = _id(piece)
        if piece_id in self._by_id:
            return self._by_id[piece_id]
        last = self._calls[-1] if self._calls else None
        call = last if place is None else self._by_place.get(place)
        if piece_id:
            # An id may come later than the name of its call.
            if call is None or call.id or _begins_another(call, function):
                return None
            call.id = piece_id
            self._by_id[piece_id] = call
            return call
        if call is None:
            # Without an id and a name it can only continue.
            return None if function.get("name") else last
        return None if _begins_another(call, function) else call

    def _add_call(self, piece_id: str, place: int | None) -> _Call:
        call = _Call(number=len(self._calls), id=piece_id)
        self._calls.append(call)
        if piece_id:
            self._by_id[piece_id] = call
        if place is None or place < 0:
            self._by_place.setdefault(call.number, call)
        return call


def full_calls(calls: Iterable[Json]) -> list[Json]:
    """The tool calls of a full answer, each with what clients rely on: an id, a type, a text."""
    calls_in_form = []
    for call in calls:
        function = _function(call)
        fields = {"id": _id(call) or _new_id(), "type": call.get("type") or "function"}
        full = {**call, **fields} | ({"function": function} if function else {})
        calls_in_form.append(call if full == call else full)
    return calls_in_form


def _begins_another(call: _Call, function: Json) -> bool:
    """Whether a piece without an id of its own begins a new call: some vendors repeat the name on
    every piece, some send several calls in a row and number none of them."""
    name = _string(function, "name")
    if not name or not call.name:
        return False
    if name != call.name:
        return any(call.arguments)
    return bool(_string(function, "arguments").strip()) and call.is_full()


def _first_piece(piece: Json, function: Json, call: _Call) -> Json:
    """A call's first piece; clients rely on an id and a type."""
    call.name = _string(function, "name")
    made = {
        **piece,
        "index": call.number,
        "id": call.id or _new_id(),
        "type": piece.get("type") or "function",
    }
    return made | ({"function": function} if function else {})


def _later_piece(piece: Json, function: Json, call: _Call) -> Json:
    """A further piece: without what clients would append to what they already have."""
    rest = dict(function)
    name = rest.pop("name", None)
    if isinstance(name, str) and name and name != call.name:
        rest["name"] = name  # the rest of it
        call.name += name
    made = {key: value for key, value in piece.items() if key not in ("id", "type")}
    return {**made, "index": call.number} | ({"function": rest} if function else {})


def _function(piece: Json) -> Json:
    """The piece's function, its arguments as text: some vendors send an object."""
    function = piece.get("function")
    if not isinstance(function, Mapping):
        return {}
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping | list):
        return {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return function


def _id(piece: Json) -> str:
    """The vendor's id as text; some count calls with numbers."""
    value = piece.get("id")
    return value if isinstance(value, str) else "" if value is None else str(value)


def _new_id() -> str:
    return f"call_{uuid4().hex[:24]}"


def _string(fields: Json, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
