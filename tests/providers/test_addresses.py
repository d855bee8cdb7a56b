"""What is tidied in an address, and what is named as wrong."""

import pytest

from providers import addresses


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        (" https://a.example/v1 ", "https://a.example/v1"),
        ("https://a.example/v1/", "https://a.example/v1"),
        ("https://a.example/v1/chat/completions", "https://a.example/v1"),
        ("https://a.example/v1/chat/completions/", "https://a.example/v1"),
        ("https://a.example/v1/models", "https://a.example/v1"),
        ("https://a.example/v1/messages?beta=true#x", "https://a.example/v1"),
        ("http://ollama:11434/v1", "http://ollama:11434/v1"),
    ],
)
def test_what_is_surely_not_meant_is_trimmed(typed: str, url: str) -> None:
    """An address copied from an example of curl works."""
    tidied = addresses.tidy(typed)
    assert (url, "") == (tidied.url, tidied.problem)


def test_a_change_is_said() -> None:
    """Nobody finds an address they did not type without knowing why."""
    tidied = addresses.tidy("https://a.example/v1/chat/completions")
    assert (tidied.changes) == (
        "/chat/completions was taken off the end: it is added to every call.",
    )
    assert addresses.tidy("https://a.example/v1").changes == ()


@pytest.mark.parametrize(
    "typed",
    ["", "a.example/v1", "ftp://a.example", "https://", "https://a b/v1", "https://a:port/v1"],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    """With a sentence."""
    assert addresses.tidy(typed).problem


def test_a_doubled_version_is_named() -> None:
    """And the right address is offered."""
    tidied = addresses.tidy("https://a.example/v1/v1")
    assert "did you mean https://a.example/v1?" in tidied.problem


def test_a_key_in_the_address_is_refused() -> None:
    """Addresses are shown on pages."""
    assert "own field" in addresses.tidy("https://user:secret@a.example/v1").problem


def test_zai_has_two_addresses_on_any_host() -> None:
    """Each leads to the other; everything else to none."""
    general, coding = "http://h:1/api/paas/v4", "http://h:1/api/coding/paas/v4"
    assert (coding, general, "") == tuple(
        addresses.zai_other(url) for url in (general, coding, "http://h:1/v1")
    )
