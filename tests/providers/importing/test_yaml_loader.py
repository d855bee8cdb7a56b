"""YAML within bounds: what is read as YAML reads it, and what is refused before it grows."""

import json
import string
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.importing import yaml_loader
from providers.importing.schema import Malformed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(string.printable),
    lambda each: st.lists(each) | st.dictionaries(st.text(string.ascii_letters), each),
    max_leaves=20,
)


def laughs(levels: int, line: str) -> str:
    """A document of some lines, each of which repeats the line before nine times."""
    lines = [line.format(name=level, before=level - 1, nine="") for level in range(1, levels)]
    return "\n".join(["a0: &a0 {x: 1}", *lines])


@given(JSON)
def test_a_document_reads_as_the_safe_loader_reads_it(document: Any) -> None:
    """Written as YAML in blocks and as JSON, which is YAML too."""
    assert yaml_loader.load(yaml.safe_dump(document)) == document
    assert yaml_loader.load(json.dumps({"a": document})) == {"a": document}


def test_anchors_and_merge_keys_are_read() -> None:
    source = "d: &d {api_base: http://a}\nx:\n  <<: *d\n  model: m\ny: [*d, *d]"
    base = {"api_base": "http://a"}
    assert yaml_loader.load(source) == {"d": base, "x": base | {"model": "m"}, "y": [base, base]}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("[" * 40_000, "nested"),
        ("{a: " * 10_000, "nested"),
        ("- " * 20_000, "nested"),
        ("? " * 20_000, "nested"),
        ("a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60, "nested"),
        (laughs(9, "a{name}: &a{name} [" + "*a{before}, " * 9 + "]"), "aliases expanded"),
        (laughs(9, "a{name}: &a{name} {{<<: [" + "*a{before}, " * 9 + "]}}"), "aliases expanded"),
        ("a: &a " + "x" * 1_000_000 + "\nb: [" + "*a, " * 100 + "]", "aliases expanded"),
        ("[" + "1," * 200_000 + "]", "more than"),
        ("---\n" * 200_000, "more than"),
        ("a: &a [*a]", "inside of what it repeats"),
        ("a: *b", "undefined alias"),
        ("a: [", "line 2: this is not valid YAML|line 1: this is not valid YAML"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!timestamp never", "not valid YAML"),
        ("!!binary aGk=: {[1]: 2}", "not valid YAML"),
    ],
)
def test_what_would_grow_or_is_odd_is_refused(source: str, why: str) -> None:
    """Before anything is built of it: forty kilobytes took fourteen seconds."""
    with pytest.raises(Malformed, match=why):
        yaml_loader.load(source)


@pytest.mark.parametrize("number", ["1" + ":1" * 1_000_000, "0x" + "f" * 1_000_000, "9" * 5000])
def test_a_number_without_end_stays_text(number: str) -> None:
    """YAML's numbers to base 60 take time by the square of their length."""
    assert yaml_loader.load(f"a: {number}") == {"a": number}


@given(st.text(string.ascii_lowercase + "[]{}&*<>:,-?!|# \n'\"0", max_size=60))
def test_any_text_is_read_or_refused_in_words(source: str) -> None:
    with suppress(Malformed):
        json.dumps(yaml_loader.load(source))
