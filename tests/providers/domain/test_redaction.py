"""No secret is left in what an upstream said of a failure, however it is spelled, masked or cut."""

import base64
import html
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.errors import CallError, ErrorKind
from providers.domain.redaction import (
    HIDDEN,
    MAX_CODE,
    MAX_MESSAGE,
    redact,
    redact_line,
    redacted_errors,
    secrets_of,
)
from providers.domain.types import Kind, Method, Target, Timeouts, Upstream

SECRET = 'sk-proj-Ab/9+"q"-0123456789wxyz'
TIMES = Timeouts(connect=1, first_token=2, silence=2, total=4)


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        SECRET.upper(),
        json.dumps(SECRET),
        json.dumps(SECRET).replace("/", "\\/"),
        quote(SECRET, safe=""),
        quote(SECRET),
        html.escape(SECRET),
        SECRET.encode().hex(),
        *(base64.b64encode(b"u" * n + SECRET.encode() + b"!").decode() for n in range(4)),
        base64.urlsafe_b64encode(b":" + SECRET.encode()).decode(),
        SECRET[:7] + "*" * 20 + SECRET[-4:],
        SECRET[:12] + "..." + SECRET[-4:],
        "*****" + SECRET[-4:],
        SECRET[:16],
        SECRET[-14:],
    ],
)
def test_no_form_of_a_known_secret_is_left(spelled: str) -> None:
    """As it is, encoded, masked with its ends showing, cut."""
    shown = redact(f"Incorrect key: {spelled} is not valid.", {SECRET})
    assert HIDDEN in shown
    assert shown.endswith("is not valid.")
    for part in (SECRET[8:20], "wxyz", base64.b64encode(SECRET.encode()[3:18]).decode()):
        assert part not in shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Incorrect API key provided: sk-other-0123456789.", "Incorrect API key provided: "),
        ("Header was Bearer abcdefgh12345678", "Header was Bearer "),
        ("at https://user:pass@host.example/v1", "at https://"),
        ("GET /v1?api_key=abc123&model=m failed", "&model=m failed"),
        ("key AIzaSyA0123456789012345678901234567890 expired", " expired"),
        ("token eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl bad", " bad"),
        ("hf_abcdefghijklmnop has no access", " has no access"),
        ('{"x-api-key": "v3ry-pr1vate-value"}', '{"x-api-key": "'),
        ("0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOp expired", " expired"),
    ],
)
def test_what_looks_like_a_key_is_hidden_whoevers_it_is(text: str, kept: str) -> None:
    """An upstream may name another key than ours: its own, or its gateway's."""
    shown = redact(text)
    assert HIDDEN in shown
    assert kept in shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Bearer authentication is required.",
        "The model gpt-4o-mini-2024-07-18 does not exist.",
        "This model's maximum context length is 8192 tokens.",
        "max_tokens: 128000 is larger than 8192",
        "Request id: 0f9c1d2e-3b4a-5c6d-7e8f-901234567890",
        "See https://platform.openai.com/account/api-keys.",
        "the key",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    """An error that says nothing helps nobody; a secret of three letters would hide half of it."""
    assert redact(text, {"the", "", SECRET}) == text


@given(st.text(max_size=400), st.integers(0, 400))
def test_a_secret_is_hidden_wherever_it_is_and_the_line_is_cut_after(text: str, at: int) -> None:
    """Nowhere does half of it remain because a limit cut the text first."""
    shown = redact_line(text[:at] + SECRET + text[at:], {SECRET}, MAX_MESSAGE)
    assert SECRET[:10] not in shown
    assert SECRET[-10:] not in shown
    assert len(shown) <= MAX_MESSAGE
    assert shown.isprintable()


@pytest.mark.parametrize("before", [*range(3990, 4110, 7)])
def test_a_long_text_is_searched_in_bounded_time(before: int) -> None:
    """Of 64 KB the beginning counts; what is hidden before it makes no room for half a secret."""
    began = time.process_time()
    for unit in ("xai-", "a-", "eyJ", "*", "sk-proj-Ab", SECRET):
        text = (unit * 70_000)[:before] + SECRET * 200
        assert SECRET[:12] not in redact_line(text, {SECRET}, MAX_MESSAGE)
    assert time.process_time() - began < 5


def test_every_text_of_an_error_is_redacted_and_its_causes_are_dropped() -> None:
    """Message, code, param, arguments: and what a traceback would print besides."""
    upstream = Upstream(
        litellm_model="openai/m",
        base_url="https://u:urlpass-123@host.example",
        api_key="sk-behind-0123456789",
        headers={"X-Team": "Bearer team-secret-99"},
    )
    basic = base64.b64encode(b"proxy:proxy-pass-77").decode()
    target = Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url="https://host.example/v1?ticket=ticket-12345",
        api_key="sk-gateway-0123456789\n",
        model="m",
        timeouts=TIMES,
        headers={"Proxy-Authorization": f"Basic {basic}"},
        upstream=upstream,
        account_secrets=("account-key-5",),
    )
    secrets = [
        *("sk-gateway-0123456789", "sk-behind-0123456789", "team-secret-99", "urlpass-123"),
        *("ticket-12345", "proxy-pass-77", "account-key-5", basic),
    ]
    assert set(secrets) <= secrets_of(target)
    for secret in secrets:
        code = "c" * 300 + secret
        given = CallError(ErrorKind.AUTH, f"no {secret}\n\0", code=code, param=secret)
        with pytest.raises(CallError) as caught, redacted_errors(target):
            raise given from ValueError(f"status line {secret}")
        error = caught.value
        assert (error.message, str(error), error.param) == (f"no {HIDDEN}",) * 2 + (HIDDEN,)
        assert error.code == "c" * MAX_CODE
        assert error.__cause__ is error.__context__ is None
