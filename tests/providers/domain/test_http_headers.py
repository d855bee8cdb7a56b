"""The rules for header fields: names, values, and what is hidden."""

import pytest

from providers.domain import http_headers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("X-Team", True),
        ("x_team", True),
        ("", False),
        ("X Team", False),
        ("X:", False),
        ("X\n", False),
    ],
)
def test_a_name_is_a_token(name: str, expected: bool) -> None:
    """RFC 9110, section 5.6.2."""
    assert http_headers.is_name(name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", True),
        ("a b\tc", True),
        ("sk-\u201cx\u201d", False),
        ("a\r\nX: 1", False),
        ("a\n", False),
    ],
)
def test_a_value_is_printable_ascii(value: str, expected: bool) -> None:
    """No line ends, which would smuggle in another header."""
    assert http_headers.is_value(value) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Authorization", True),
        ("X-Api-Key", True),
        ("set-cookie", True),
        ("llm-provider-api_base", True),
        ("x-ratelimit-remaining-tokens", False),
        ("content-type", False),
    ],
)
def test_names_of_secrets_are_recognized(name: str, expected: bool) -> None:
    """Counts of tokens are no secret."""
    assert http_headers.is_secret(name) is expected


def test_the_client_sets_some_headers_itself() -> None:
    """However they are spelled."""
    assert http_headers.is_own("Content-Length")
    assert not http_headers.is_own("content-type")


def test_headers_are_merged_however_they_are_spelled() -> None:
    """The second ones win."""
    assert http_headers.merge({"X-A": "1", "B": "2"}, {"x-a": "3"}) == {"B": "2", "x-a": "3"}
