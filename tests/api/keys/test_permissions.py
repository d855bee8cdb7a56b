"""Which models a key may use."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.keys.permissions import AllowedModels, find_model_choice
from providers.policy.members import Member, MemberList, Strategy
from tests.api.keys.served import model

ACME, BETA = model("acme", "big"), model("beta", "org/big")


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ((), "acme/big", True),
        (("acme/big",), "acme/big", True),
        (("acme/big",), "acme/bigger", False),
        (("acme/big",), "ACME/big", False),
        (("acme/*",), "acme/org/big", True),
        (("acme/*",), "acme", False),
        (("*/big",), "beta/org/big", True),
        (("*",), "anything", True),
        (("beta/*", "fast"), "fast", True),
        (("a.me/big",), "acme/big", False),
        (("claude[1m]",), "claude[1m]", True),
        (("gl?",), "glm", False),
    ],
)
def test_patterns_match_full_names(patterns: tuple[str, ...], name: str, allowed: bool) -> None:
    """Only `*` has a meaning of its own; no pattern at all allows everything."""
    assert AllowedModels(patterns=patterns).permits(name) is allowed


def test_a_virtual_model_is_allowed_by_its_members() -> None:
    """Or by its own name; not where a member is forbidden."""
    members = tuple(Member(provider_id=n, model_id="big", name=f"{n}/big") for n in (1, 2))
    virtual = MemberList(pk=1, name="fast", strategy=Strategy.PRIORITY, members=members)
    fast = replace(ACME, virtual=virtual)
    assert AllowedModels(patterns=("1/*", "2/*")).permits("fast", [fast])
    assert AllowedModels(patterns=("fast",)).permits("fast", [fast])
    assert not AllowedModels(patterns=("1/*", "acme/*")).permits("fast", [fast])


def test_a_name_is_allowed_by_the_models_behind_it() -> None:
    """A plain name or an alias needs no pattern of its own where all its models are allowed."""
    allowed = AllowedModels(patterns=("acme/*",))
    assert allowed.permits("fast", [ACME])
    assert not allowed.permits("fast", [ACME, BETA])
    assert not allowed.permits("fast", [])


def test_an_alias_may_be_allowed_without_its_models() -> None:
    """A key for one name says nothing of the models behind it."""
    allowed = AllowedModels(patterns=("fast",))
    assert allowed.permits("fast", [ACME, BETA])
    assert not allowed.permits(ACME.full_name, [ACME])


@given(st.lists(st.text("ab*/", max_size=8), min_size=1, max_size=3), st.text("ab/", max_size=12))
def test_matches_as_a_shell_does(patterns: list[str], name: str) -> None:
    """Whatever the number of stars, and wherever they are."""
    expected = any(fnmatchcase(name, pattern) for pattern in patterns)
    assert AllowedModels(patterns=tuple(patterns)).permits(name) is expected


def test_no_pattern_takes_long() -> None:
    """Nothing is tried twice: a pattern of many stars would never end otherwise."""
    assert not AllowedModels(patterns=("*a" * 50 + "b",)).permits("a" * 5000)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "a", "messages": [], "tools": []}, ""),
        ({"model": "a", "MODEL": "b"}, "MODEL"),
        ({"model": "a", "models": ["b"]}, "models"),
        ({"model": "a", "Fallbacks": ["b"]}, "Fallbacks"),
        ({"model": "a", "extra_body": {"model": "b"}}, "model"),
        ({"model": "a", "extra_body": {"seed": 1}}, ""),
        ({"model": "a", "extra_body": "model"}, ""),
    ],
)
def test_a_field_that_chooses_another_model_is_found(body: dict[str, object], field: str) -> None:
    assert find_model_choice(body) == field
