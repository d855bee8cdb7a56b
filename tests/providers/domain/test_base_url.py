"""What is tidied in an address, and what is named as wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain import base_url


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
        ("a.example/v1", "https://a.example/v1"),
        ("//a.example:8443/v1", "https://a.example:8443/v1"),
        ("localhost:11434/v1", "http://localhost:11434/v1"),
        ("192.168.1.5:8080", "http://192.168.1.5:8080"),
        ("[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("ollama:11434/v1", "http://ollama:11434/v1"),
        ("https://https://a.example/v1", "https://a.example/v1"),
        ("http:https://a.example/v1", "https://a.example/v1"),
        ("https:/a.example/v1", "https://a.example/v1"),
        ("https://a.example/v1/chat/completions/chat/completions", "https://a.example/v1"),
        ("HTTPS://API.Example.com/v1", "https://api.example.com/v1"),
        ("https://a.example//v1//models", "https://a.example/v1"),
    ],
)
def test_what_is_surely_not_meant_is_trimmed(typed: str, url: str) -> None:
    """An address copied from an example of curl works."""
    tidied = base_url.tidy(typed)
    assert (url, "") == (tidied.url, tidied.problem)


@given(
    st.from_regex(
        r"(https?:/{0,3}){0,3}[a-c.:1-2]{1,8}(/v1|/models|/chat/completions|/){0,5}",
        fullmatch=True,
    )
)
def test_what_was_tidied_is_tidy(typed: str) -> None:
    """Saving a second time changes nothing."""
    once = base_url.tidy(typed)
    if not once.problem:
        assert base_url.tidy(once.url) == base_url.Tidied(url=once.url)


def test_a_change_is_said() -> None:
    """Nobody finds an address they did not type without knowing why."""
    tidied = base_url.tidy("https://a.example/v1/chat/completions")
    assert (tidied.changes) == (
        "/chat/completions was removed from the end: it is added to every call.",
    )
    assert base_url.tidy("https://a.example/v1").changes == ()
    said = base_url.tidy("A.example//v1/").changes
    assert said == (
        "https:// was added at the start.",
        "Double slashes were removed.",
        "The slash at the end was removed.",
        "The host was changed to lower case.",
    )


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "nonsense",
        "ollama:v1",
        "https://[::1",
        "ftp://a.example",
        "https://",
        "https://a b/v1",
        "https://a:port/v1",
    ],
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    """With a sentence."""
    assert base_url.tidy(typed).problem


def test_a_doubled_version_is_named() -> None:
    """And the right address is offered."""
    tidied = base_url.tidy("https://a.example/v1/v1")
    assert "did you mean https://a.example/v1?" in tidied.problem


def test_a_key_in_the_address_is_refused() -> None:
    """Addresses are shown on pages."""
    assert "own field" in base_url.tidy("https://user:secret@a.example/v1").problem


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"),
        *("2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376"),
        *("100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "224.0.0.1"),
    ],
)
def test_what_is_never_called_is_refused_as_it_is_typed(host: str) -> None:
    """Where clouds keep a machine's secrets, however the number is wrapped."""
    assert "never called" in base_url.tidy(f"http://{host}/latest").problem


@pytest.mark.parametrize(
    ("url", "location", "instead"),
    [
        ("http://a.example/v1", "https://a.example/v1/models", "https://a.example/v1"),
        ("https://a.example/v1", "/v2/chat/completions", "https://a.example/v2"),
        ("https://a.example/v1", "//b.example/v1/models?limit=9", "https://b.example/v1"),
        ("https://a.example/v1", "https://a.example/login?next=/v1/models", ""),
        ("https://a.example/v1", "http://a.example/v1/models", ""),
        ("http://a.example/v1", "http://169.254.169.254/models", ""),
        ("http://a.example/v1", "file:///v1/models", ""),
        ("http://a.example/v1", "http://a.example/v1/models/", ""),
        ("http://a.example/v1", "", ""),
    ],
)
def test_a_redirect_reports_the_address_to_use(url: str, location: str, instead: str) -> None:
    """Where it leads to the same call; never to a page, to plain text, or to where nobody goes."""
    assert base_url.redirect_target(url, location) == instead


def test_zai_has_two_addresses_on_any_host() -> None:
    """Each leads to the other; everything else to none."""
    general, coding = "http://h:1/api/paas/v4", "http://h:1/api/coding/paas/v4"
    assert (coding, general, "") == tuple(
        base_url.other_zai_url(url) for url in (general, coding, "http://h:1/v1")
    )
