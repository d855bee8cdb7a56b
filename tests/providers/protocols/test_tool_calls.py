"""Tool calls in every form that vendors give them: two calls are two, each of them complete."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.protocols.tool_calls import Numbering, full_calls

type Piece = dict[str, Any]


def piece(name: str = "", arguments: object = "", **fields: Any) -> Piece:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {**fields, "function": function}


def client(chunks: list[list[Piece]]) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of each call, as a client appends what it gets by index."""
    numbering = Numbering()
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for made in numbering.number(chunk):
            known = calls.setdefault(made["index"], {"id": "", "name": "", "arguments": ""})
            known["id"] += made.get("id", "")
            for name, text in made["function"].items():
                known[name] += text
    assert sorted(calls) == list(range(len(calls)))
    return [(c["id"], c["name"], c["arguments"]) for c in calls.values()]


A, B = ("a", "ls", '{"p":1}'), ("b", "cat", '{"p":2}')
ONE, TWO = '{"p":1}', '{"p":2}'


@pytest.mark.parametrize(
    "chunks",
    [
        # The same index with different ids.
        [[piece("ls", ONE, index=0, id="a")], [piece("cat", TWO, index=0, id="b")]],
        # No index, and an index that is null.
        [[piece("ls", ONE, id="a")], [piece("cat", TWO, id="b")]],
        [[piece("ls", ONE, index=None, id="a")], [piece("cat", TWO, index=None, id="b")]],
        # Ids on the first chunk alone, with and without an index.
        [
            *([piece("ls", '{"p"', index=0, id="a")], [piece("", ":1}", index=0)]),
            *([piece("cat", '{"p"', index=1, id="b")], [piece("", ":2}", index=1)]),
        ],
        [
            *([piece("ls", '{"p"', id="a")], [piece("", ":1}")]),
            *([piece("cat", '{"p"', id="b")], [piece("", ":2}")]),
        ],
        # Both calls in one chunk.
        [[piece("ls", ONE, id="a"), piece("cat", TWO, id="b")]],
        [[piece("ls", ONE, index=0, id="a"), piece("cat", TWO, index=0, id="b")]],
        # Name and id repeated on every chunk.
        [
            *([piece("ls", '{"p"', index=0, id="a")], [piece("ls", ":1}", index=0, id="a")]),
            *([piece("cat", '{"p"', index=1, id="b")], [piece("cat", ":2}", index=1, id="b")]),
        ],
        # Two calls whose pieces alternate, distinguished by id, by index, by place.
        [
            *([piece("ls", '{"p"', id="a")], [piece("cat", '{"p"', id="b")]),
            *([piece("", ":1}", id="a")], [piece("", ":2}", id="b")]),
        ],
        [
            *([piece("ls", "", index=0, id="a")], [piece("cat", "", index=1, id="b")]),
            *([piece("", ONE, index=0)], [piece("", TWO, index=1)]),
        ],
        [
            [piece("ls", '{"p"', id="a"), piece("cat", '{"p"', id="b")],
            [piece("", ":1}"), piece("", ":2}")],
        ],
        # Ids that are empty after the first chunk.
        [
            *([piece("ls", '{"p"', index=0, id="a")], [piece("", ":1}", index=0, id="")]),
            *([piece("cat", '{"p"', index=1, id="b")], [piece("", ":2}", index=1, id="")]),
        ],
        # The same index again, ids on the first piece of each.
        [
            *([piece("ls", '{"p"', index=0, id="a")], [piece("", ":1}", index=0)]),
            *([piece("cat", '{"p"', index=0, id="b")], [piece("", ":2}", index=0)]),
        ],
        # Counted from elsewhere: text blocks have a number too.
        [[piece("ls", ONE, index=2, id="a")], [piece("cat", TWO, index=5, id="b")]],
        # No index at first, then one.
        [[piece("ls", "", id="a")], [piece("", ONE, index=0)], [piece("cat", TWO, id="b")]],
        # Arguments as an object, and a name in two pieces.
        [[piece("ls", {"p": 1}, id="a")], [piece("c", "", id="b")], [piece("at", TWO, id="b")]],
    ],
)
def test_two_calls_stay_two(chunks: list[list[Piece]]) -> None:
    """Nothing of one ends up in the other, and nothing is there twice."""
    found = [(id, name, json.loads(arguments)) for id, name, arguments in client(chunks)]
    assert found == [(id, name, json.loads(arguments)) for id, name, arguments in (A, B)]


@pytest.mark.parametrize(
    "chunks",
    [
        [[piece("ls", ONE), piece("ls", TWO)]],
        [[piece("ls", ONE)], [piece("ls", TWO)]],
        [[piece("ls", ONE, index=0)], [piece("ls", TWO, index=0)]],
        [[piece("ls", ONE, id="")], [piece("ls", TWO, id="")]],
        [
            *([piece("ls", '{"p"')], [piece("ls", ":1}")]),
            *([piece("ls", '{"p"')], [piece("ls", ":2}")]),
        ],
    ],
)
def test_two_calls_without_ids_stay_two_and_get_one_each(chunks: list[list[Piece]]) -> None:
    """Clients refuse a call that has none."""
    first, second = client(chunks)
    assert (first[1:], second[1:]) == (("ls", ONE), ("ls", TWO))
    assert first[0]
    assert second[0]
    assert first[0] != second[0]


def test_an_id_that_comes_late_makes_no_second_call() -> None:
    """The name was there before it."""
    ((_, name, arguments),) = client(
        [[piece("ls", "", index=0)], [piece("", ONE, index=0, id="x")]]
    )
    assert (name, arguments) == ("ls", ONE)


def test_what_is_in_standard_form_is_returned_as_it_is() -> None:
    """So that a chunk can go on to the letter."""
    first = piece("ls", "", index=0, id="a", type="function")
    more = piece("", ONE, index=0)
    numbering = Numbering()
    assert [*numbering.number([first]), *numbering.number([more])] == [first, more]
    assert full_calls([full := piece("ls", ONE, id="a", type="function")])[0] is full


CALLS = st.lists(
    st.tuples(st.sampled_from(["ls", "cat"]), st.dictionaries(st.text(max_size=3), st.integers())),
    min_size=1,
    max_size=4,
)


@given(CALLS, st.data(), st.booleans(), st.booleans())
def test_however_they_are_cut_calls_with_ids_stay_apart(
    calls: list[tuple[str, dict[str, int]]], data: st.DataObject, indexed: bool, repeats: bool
) -> None:
    """Pieces of any size, with or without an index, the id on the first or on every one."""
    chunks: list[list[Piece]] = []
    for number, (name, arguments) in enumerate(calls):
        rest, first = json.dumps(arguments), True
        while rest or first:
            size = data.draw(st.integers(0, len(rest))) if rest else 0
            cut, rest = (rest[:size], rest[size:]) if size else (rest, "")
            fields: dict[str, Any] = {"index": number} if indexed else {}
            fields |= {"id": f"call-{number}"} if first or repeats else {}
            chunks.append([piece(name if first else "", cut, **fields)])
            first = False
    assert client(chunks) == [
        (f"call-{number}", name, json.dumps(arguments))
        for number, (name, arguments) in enumerate(calls)
    ]
