"""Each cause that a test can name, provoked by a faulty server or a real socket."""

from dataclasses import replace

import pytest
from pytest_django import Settings

from providers.connection_test.draft import Draft
from providers.diagnosis import types
from providers.diagnosis.diagnose import Verdict
from providers.diagnosis.types import Diagnosis
from providers.domain.types import Method
from providers.views import test_panel
from tests import fakes
from tests.providers.tested import answering, diagnosed, draft, verdict

pytestmark = pytest.mark.django_db(transaction=True)


def fix(result: Diagnosis) -> tuple[str, str] | None:
    return (result.fix.field, result.fix.value) if result.fix else None


async def shown(fake: fakes.Upstream, behaviour: str, models: str = "") -> Diagnosis:
    """What a test says of a server that behaves so."""
    fake.script(behaviour, models=models or behaviour)
    return await diagnosed(draft(fake.url))


def remark(result: Verdict) -> Diagnosis:
    """What is said beside the fact that all works."""
    assert result.tone == "ok"
    assert len(result.findings) == 1
    assert result.findings[0].methods == tuple(Method)
    return result.findings[0].diagnosis


@pytest.mark.parametrize("typed", ["http://127.0.0.1:9/v1/v1", "http://127.0.0.1:9/v1/v1/models"])
async def test_a_doubled_path(typed: str) -> None:
    """Found before any call is made."""
    result = await diagnosed(draft(typed))
    assert result.title == types.ENDPOINT == "Invalid endpoint - check URL format"
    assert "twice" in result.cause
    assert fix(result) == ("base_url", "http://127.0.0.1:9/v1")


async def test_an_address_that_is_none() -> None:
    """A preset's own address is the fix, where there is one."""
    result = await diagnosed(draft("nonsense", preset="openai"))
    assert result.title == types.ENDPOINT
    assert result.cause.startswith("It has to begin with https://")
    assert fix(result) == ("base_url", "https://api.openai.com/v1")


async def test_a_web_page(fake: fakes.Upstream) -> None:
    """Of a website, or of a proxy in between."""
    result = await shown(fake, "html")
    assert result.title == types.ENDPOINT
    assert "web page" in result.cause


async def test_a_path_with_nothing_there(fake: fakes.Upstream) -> None:
    """The version is missing: with it, all is well."""
    result = await diagnosed(draft(fake.origin))
    assert (result.title, "404" in result.cause) == (types.ENDPOINT, True)
    assert fix(result) == ("base_url", fake.url)


@pytest.mark.parametrize(
    ("location", "instead"),
    [("https://api.example.com/v1/models", "https://api.example.com/v1"), ("/sign-in", None)],
)
async def test_a_redirect_is_reported_and_not_followed(location: str, instead: str | None) -> None:
    """Where it leads to the same call, that is the fix; a sign-in page is none."""
    head = f"HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    async with answering(head) as url:
        result = await diagnosed(draft(url))
    assert result.title == types.ENDPOINT
    assert location in result.cause
    assert "could carry the key to another host" in result.cause
    assert fix(result) == (("base_url", instead) if instead else None)


async def test_no_list_while_a_chat_works(fake: fakes.Upstream) -> None:
    """The offline catalogue is used, and the test succeeds."""
    fake.script("echo", models="400")
    result = remark(await verdict(draft(fake.url, preset="openai")))
    assert result.title == "This provider does not list its models"
    assert "offline catalogue" in result.advice


async def test_a_list_in_a_known_other_shape_is_read(fake: fakes.Upstream) -> None:
    """`models[].slug`; the line says so, and nothing is wrong."""
    fake.script("echo", models="slugs")
    result = await verdict(draft(fake.url))
    assert (result.tone, result.findings) == ("ok", ())


async def test_a_list_in_an_unknown_format_is_reported(fake: fakes.Upstream) -> None:
    """Chats work all the same."""
    fake.script("echo", models="strange-list")
    assert remark(await verdict(draft(fake.url))).title == "The list of models cannot be read"


async def test_an_empty_list_is_reported(fake: fakes.Upstream) -> None:
    """A local server without a model in it."""
    fake.script("echo", models="nothing-listed")
    assert remark(await verdict(draft(fake.url))).title == "No models are listed"


async def test_401_against_403_and_no_key_at_all(fake: fakes.Upstream) -> None:
    """A wrong key is entered again, a known one has too few rights, a missing one is fetched."""
    wrong = await shown(fake, "401")
    assert wrong.title == "Authentication failed - check API key"
    assert "does not accept this key (401)" in wrong.cause
    fake.script()
    missing = await diagnosed(draft(fake.url, key="", preset="openai"))
    assert "none is set" in missing.cause
    denial = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(denial) as url:
        rights = await diagnosed(draft(url))
    assert rights.title == wrong.title
    assert "may not do this (403)" in rights.cause


@pytest.mark.parametrize("behaviour", ["402", "zai-1113", "zai-1304", "zai-1308", "zai-1310"])
async def test_a_used_up_balance_or_plan(fake: fakes.Upstream, behaviour: str) -> None:
    """Whatever the status; with the time until it renews, where the provider names it."""
    result = await shown(fake, behaviour)
    assert result.title == "The balance or plan is used up"
    if behaviour in ("zai-1308", "zai-1310"):
        assert result.retry_after is not None
        assert 3500 < result.retry_after <= 3601


@pytest.mark.parametrize("code", ["1113", "1309"])
async def test_a_zai_key_on_the_other_address(fake: fakes.Upstream, code: str) -> None:
    """No rate limit, though it comes as 429; the other address is the fix."""
    fake.script(f"zai-{code}", models="echo")
    general = f"{fake.origin}/api/paas/v4"
    result = await diagnosed(draft(general))
    assert result.title == "Wrong base URL for this key"
    assert "not a rate limit" in result.cause
    assert fix(result) == ("base_url", f"{fake.origin}/api/coding/paas/v4")


@pytest.mark.parametrize(("behaviour", "wait"), [("429", 2), ("429-ms", 0.3), ("429-long", 3600)])
async def test_a_rate_limit_with_its_wait(
    fake: fakes.Upstream, behaviour: str, wait: float
) -> None:
    """In seconds or milliseconds."""
    result = await shown(fake, behaviour, models="echo")
    assert result.title == "Rate limit exceeded - try again later"
    assert result.retry_after == wait


async def test_a_self_signed_certificate() -> None:
    """On a machine of one's own plain http is offered; elsewhere nothing takes the lock away."""
    with fakes.Upstream(tls=True) as fake:
        result = await diagnosed(draft(fake.url))
    assert result.title == "Network error - check endpoint and connection"
    assert "self-signed" in result.cause
    assert fix(result) == ("base_url", fake.url.replace("https:", "http:"))


async def test_plain_http_behind_https(fake: fakes.Upstream) -> None:
    """TLS fails here too; the fix is the other scheme."""
    result = await diagnosed(draft(fake.url.replace("http:", "https:")))
    assert "does not speak TLS" in result.cause
    assert fix(result) == ("base_url", fake.url)


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests themselves often run in one."""
    monkeypatch.setattr(test_panel, "in_container", lambda: False)


async def test_a_closed_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine nothing listens; seen from a container, this machine is the container."""
    typed = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    result = await diagnosed(draft(typed))
    assert result.title == types.NETWORK
    assert "Start the program" in result.advice
    monkeypatch.setattr(test_panel, "in_container", lambda: True)
    result = await diagnosed(draft(typed))
    assert fix(result) == ("base_url", typed.replace("127.0.0.1", "host.docker.internal"))


async def test_an_unknown_host() -> None:
    """It is spelled wrongly, or nothing can be looked up."""
    result = await diagnosed(draft(fakes.UNKNOWN_HOST))
    assert result.title == types.NETWORK
    assert "no host named provider.invalid" in result.cause


async def test_an_address_that_is_not_called(settings: Settings, fake: fakes.Upstream) -> None:
    """The operator is named, who may allow private ones."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    result = await diagnosed(draft(fake.url))
    assert result.title == types.ENDPOINT
    assert "ALLOW_PRIVATE_ADDRESSES" in result.advice


async def test_streaming_that_is_ignored(fake: fakes.Upstream) -> None:
    """One JSON where a stream was asked for."""
    result = remark(await verdict(draft(fake.url, model_id="whole")))
    assert result.title == "Streaming is ignored"


async def test_reasoning_in_the_answer(fake: fakes.Upstream) -> None:
    """They belong into a field of their own."""
    result = remark(await verdict(draft(fake.url, model_id="thinks-aloud")))
    assert "<think>" in result.cause


async def test_missing_token_counts(fake: fakes.Upstream) -> None:
    """They are estimated."""
    result = remark(await verdict(draft(fake.url, model_id="no-usage")))
    assert result.title == "Tokens are not counted"


@pytest.mark.parametrize(
    ("behaviour", "title"),
    [
        ("500", "The provider failed"),
        ("503", "The provider is overloaded"),
        ("truncated-40", "The answer broke off"),
        ("400", "The provider refused the request"),
        ("zai-1211", "The model was not found"),
    ],
)
async def test_other_failures_of_a_chat(fake: fakes.Upstream, behaviour: str, title: str) -> None:
    """Address and key are not blamed."""
    assert (await shown(fake, behaviour, models="echo")).title == title


async def test_an_unreachable_gateway_leaves_the_direct_method(fake: fakes.Upstream) -> None:
    """The cause names the gateway, not the provider."""
    form = draft(fake.url)
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}"
    gone: Draft = replace(form, connection=replace(form.connection, gateway_endpoint=nowhere))
    result = await verdict(gone)
    assert (result.tone, result.title) == ("warn", "It works directly, but not through the gateway")
    assert "LiteLLM gateway at" in result.findings[0].diagnosis.cause
