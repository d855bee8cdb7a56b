"""The gateway process, started as it runs, in front of the fake upstream."""

import asyncio
import gzip
import json
import os
import re
import subprocess
from contextlib import aclosing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from providers.clients import direct, gateway, http
from providers.clients.deadlines import Deadlines
from providers.domain.errors import CallError, ErrorKind, GatewayError, classify
from providers.domain.types import (
    ChatMessage,
    ChatRequest,
    ClientEvent,
    Finish,
    Kind,
    Method,
    Target,
    TextDelta,
    Timeouts,
    Upstream,
    UsageReport,
)
from tests import fakes
from tests.polling import until, wait_until
from tests.programs import PYTHON
from tests.providers.tested import answering
from tests.upstreams.fixtures import GatewayProcess, free_port

ASKED = ChatRequest(messages=(ChatMessage(role="user", content="hello world"),))
FULL = replace(ASKED, non_streaming=True)
FUNCTION = {"name": "ls", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": FUNCTION}]


@pytest.fixture
def target(gateway_process: GatewayProcess, fake: fakes.Upstream, settings: Settings) -> Target:
    settings.GATEWAY_URL = gateway_process.url
    settings.GATEWAY_TOKEN = gateway_process.token
    return Target(
        method=Method.GATEWAY,
        kind=Kind.OPENAI,
        base_url=gateway_process.url,
        api_key=gateway_process.token,
        model="echo",
        timeouts=Timeouts(connect=5, first_token=20, silence=20, total=60),
        upstream=Upstream(litellm_model="openai/echo", base_url=fake.url, api_key=fakes.KEY),
    )


def asking(target: Target, model: str, prefix: str = "openai", **upstream: Any) -> Target:
    assert target.upstream is not None
    changed = replace(target.upstream, litellm_model=f"{prefix}/{model}", **upstream)
    return replace(target, model=model, upstream=changed)


async def events(target: Target, request: ChatRequest = ASKED) -> list[ClientEvent]:
    try:
        async with aclosing(gateway.stream(target, request)) as reads:
            return [event async for events in reads for event in events]
    finally:
        await http.close()


def text(found: list[ClientEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, TextDelta))


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_an_answer_comes_through_litellm(target: Target, prefix: str) -> None:
    """Text, finish reason and usage, from either wire format."""
    found = await events(asking(target, "echo", prefix))
    assert text(found) == "hello world"
    assert Finish(reason="stop") in found
    assert any(isinstance(event, UsageReport) for event in found)


async def test_a_vendors_own_parameters_reach_it(target: Target, fake: fakes.Upstream) -> None:
    """Azure's version is in the address, its token in the header; the caller's parameters win."""
    parameters = {
        "api_version": "2024-08-01-preview",
        "azure_ad_token": fakes.KEY,
        "temperature": 0.1,
        "extra_body": {"service_tier": "flex"},
    }
    azure = asking(target, "echo", "azure", api_key="", parameters=parameters, has_list=False)
    found = await events(azure, replace(ASKED, options={"temperature": 0.7}))
    assert text(found) == "hello world"
    asked = fake.requests[-1]
    assert "/openai/deployments/echo/" in asked.path
    assert asked.query == {"api-version": "2024-08-01-preview"}
    assert (asked.body["temperature"], asked.body["service_tier"]) == (0.7, "flex")


async def test_a_vendor_that_has_no_list_is_not_asked_for_one(target: Target) -> None:
    """It is no failure of the route, and no call goes out."""
    assert target.upstream is not None
    without = replace(target, upstream=replace(target.upstream, has_list=False))
    with pytest.raises(CallError) as caught:
        await gateway.list_models(without)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.REQUEST, "no_list")
    assert not caught.value.sent


async def test_a_long_answer_arrives_exactly(target: Target) -> None:
    """Markdown in pieces that cut words, whole at the end."""
    assert text(await events(asking(target, "markdown"))) == fakes.MARKDOWN


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_a_request_with_tools_comes_through_litellm(
    target: Target, fake: fakes.Upstream, prefix: str
) -> None:
    """As every coding client sends it."""
    found = await events(asking(target, "tools", prefix), replace(ASKED, options={"tools": TOOLS}))
    assert Finish(reason="tool_calls") in found
    assert "ls" in str(fake.requests[-1].body["tools"])


@pytest.mark.parametrize(
    ("model", "kind", "status", "code"),
    [
        ("400", ErrorKind.REQUEST, 400, "invalid_value"),
        ("401", ErrorKind.AUTH, 401, None),
        ("402", ErrorKind.QUOTA, 402, None),
        ("429", ErrorKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
        ("500", ErrorKind.PROVIDER, 500, None),
        ("503", ErrorKind.OVERLOADED, 503, None),
        ("error-in-200", ErrorKind.PROVIDER, None, None),
        ("garbage", ErrorKind.PROVIDER, None, None),
        ("html", ErrorKind.PROVIDER, None, None),
        ("empty", ErrorKind.PROVIDER, None, "empty"),
        ("truncated", ErrorKind.PROVIDER, None, "truncated"),
        ("cut-mid", ErrorKind.NETWORK, None, "cut"),
        ("error-mid", ErrorKind.PROVIDER, None, None),
        ("reset", ErrorKind.NETWORK, None, "reset"),
    ],
)
async def test_the_providers_failures_keep_their_kind(
    target: Target, model: str, kind: ErrorKind, status: int | None, code: str | None
) -> None:
    """A cut stream is no `stop`, and a refused key is the provider's, not the gateway's."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, model))
    error = caught.value
    assert (type(error) is GatewayError, error.kind) == (False, kind)
    assert status is None or error.status == status
    assert code is None or error.code == code


async def whole(target: Target) -> Any:
    """What the process answers where no stream is asked for."""
    assert target.upstream is not None
    deadlines = Deadlines(target.timeouts)
    body = {
        "messages": [{"role": "user", "content": "hello world"}],
        "upstream": asdict(target.upstream),
    }
    url, headers = f"{target.base_url}/v1/chat/completions", direct.request_headers(target)
    try:
        async with http.HttpCall(
            "POST", url, headers=headers, body=body, deadlines=deadlines
        ) as response:
            return await direct.read_json(response, deadlines)
    finally:
        await http.close()


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_an_answer_comes_whole_where_no_stream_is_asked_for(
    target: Target, fake: fakes.Upstream, prefix: str
) -> None:
    """LiteLLM requests no stream from the provider either; the answer is passed on as it came."""
    answer = await whole(asking(target, "echo", prefix))
    assert answer["id"] in ("chatcmpl-fake", "msg_fake")
    found = await events(asking(target, "echo", prefix), FULL)
    assert text(found) == "hello world"
    assert Finish(reason="stop") in found
    assert [e.usage.output_tokens for e in found if isinstance(e, UsageReport)][-1] == 2
    assert not fake.requests[-1].body.get("stream")


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("401", ErrorKind.AUTH, None),
        ("429", ErrorKind.RATE_LIMIT, None),
        ("500", ErrorKind.PROVIDER, None),
        ("truncated", ErrorKind.PROVIDER, "truncated"),
        ("reset", ErrorKind.NETWORK, "reset"),
        ("cut-mid", ErrorKind.NETWORK, "cut"),
    ],
)
async def test_a_whole_answers_failures_keep_their_kind_too(
    target: Target, prefix: str, model: str, kind: ErrorKind, code: str | None
) -> None:
    """A finish reason that nobody sent is no `stop` here either."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, model, prefix), FULL)
    error = caught.value
    assert error.kind == kind
    assert code is None or error.code == code
    assert model != "429" or error.retry_after == 2


@pytest.mark.parametrize("prefix", ["openai", "anthropic", "zai", "deepseek"])
async def test_litellm_calls_once(target: Target, fake: fakes.Upstream, prefix: str) -> None:
    """Retrying is ours alone; it would call a provider three times."""
    with pytest.raises(CallError):
        await events(asking(target, "500", prefix))
    assert (await whole(asking(target, "500", prefix)))["error"]["status"] == 500
    assert len(fake.requests) == 2
    assert not any("max_retries" in request.body for request in fake.requests)


@pytest.mark.parametrize("streamed", [True, False])
async def test_headers_come_before_the_provider_says_a_word(
    target: Target, fake: fakes.Upstream, streamed: bool
) -> None:
    """They show that the process is alive, so that a stopped one is no slow provider."""
    thinking = asking(target, "stall-headers")
    assert thinking.upstream is not None
    body = {"messages": [], "stream": streamed, "upstream": asdict(thinking.upstream)}
    url, headers = f"{target.base_url}/v1/chat/completions", direct.request_headers(target)
    times = replace(target.timeouts, headers=gateway.OWN_HEADERS)
    async with http.HttpCall(
        "POST", url, headers=headers, body=body, deadlines=Deadlines(times)
    ) as response:
        assert response.status == 200
        await until(lambda: fake.requests)
    await until(lambda: fake.requests[-1].disconnected_at)
    await http.close()


async def test_a_zai_code_comes_through(target: Target, fake: fakes.Upstream) -> None:
    """It alone distinguishes a wrong address from a rate limit."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "zai", base_url=f"{fake.origin}/api/paas/v4"))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.QUOTA, "1113")


async def test_retry_after_comes_through(target: Target) -> None:
    """In seconds."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "429"))
    assert caught.value.retry_after == 2


async def test_an_unreachable_provider_is_no_failure_of_the_gateway(target: Target) -> None:
    """LiteLLM calls it a 500; the chain of causes knows better."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}/v1"
    with pytest.raises(CallError) as caught:
        await events(asking(target, "echo", base_url=nowhere))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.NETWORK, "connect_refused")


async def test_a_dead_gateway_is_the_gateways_failure(target: Target) -> None:
    """So that only its route suffers."""
    nowhere = f"http://127.0.0.1:{fakes.refusing_port()}"
    with pytest.raises(GatewayError):
        await events(replace(target, base_url=nowhere))


async def test_only_this_instance_may_use_the_gateway(target: Target) -> None:
    """The token is made at each start."""
    with pytest.raises(GatewayError):
        await events(replace(target, api_key="guessed"))
    with pytest.raises(GatewayError):
        await events(replace(target, api_key=""))


async def test_the_reader_leaving_closes_the_upstreams_connection(
    target: Target, fake: fakes.Upstream
) -> None:
    """Within a second, through two processes."""
    async with aclosing(gateway.stream(asking(target, "slow-1000-20"), ASKED)) as stream:
        async for _ in stream:
            break
    async with asyncio.timeout(15):
        await until(lambda: fake.requests[-1].disconnected_at)
    await http.close()


async def test_the_catalogue_comes_over_the_same_route(
    target: Target, fake: fakes.Upstream
) -> None:
    """LiteLLM has no call for it."""
    found = await gateway.list_models(target)
    await http.close()
    assert [model.model_id for model in found] == fake.models


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_the_address_guard_holds_behind_litellm_too(target: Target, prefix: str) -> None:
    """A cloud's metadata is not read over this route either."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, "echo", prefix, base_url="http://169.254.169.254/v1"))
    assert caught.value.code == "address_refused"


@pytest.mark.parametrize("model", ["truncated", "truncated-at-once", "cut-mid", "error-mid"])
async def test_an_anthropic_stream_that_breaks_is_no_good_end(target: Target, model: str) -> None:
    """LiteLLM would end it with `stop`."""
    with pytest.raises(CallError) as caught:
        await events(asking(target, model, "anthropic"))
    wanted = ErrorKind.NETWORK if model == "cut-mid" else ErrorKind.PROVIDER
    assert caught.value.kind == wanted


# These run in processes of their own: litellm is never imported into this one.
QUIET = """
import json, socket, threading

def forbidden(*_, **__):
    raise SystemExit("the network was asked")

socket.getaddrinfo = socket.create_connection = forbidden
socket.socket.connect = socket.socket.connect_ex = forbidden
import django
django.setup()
from providers.clients import litellm_server
litellm = litellm_server._import_litellm()
print(json.dumps({
    "threads": [each.name for each in threading.enumerate()],
    **{name: getattr(litellm, name) for name in dir(litellm) if "callback" in name
       and "_known_" not in name and isinstance(getattr(litellm, name), list)},
    **{name: getattr(litellm, name, None) for name in (
        "num_retries", "default_fallbacks", "model_fallbacks", "context_window_fallbacks",
        "cache", "set_verbose", "suppress_debug_info", "drop_params", "log_raw_request_response",
    )},
}))
"""
WALK = """
import importlib, inspect, json, pathlib, re
import django, httpx
django.setup()
from providers.clients import litellm_errors, litellm_server
from tests.polling import until, wait_until
litellm = litellm_server._import_litellm()
root = pathlib.Path(litellm.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root.parent).with_suffix("").parts
    defines = re.search(r"^class .*(Exception|Error)\\b.*:", path.read_text(), re.M)
    if defines and parts[1] != "proxy":
        try:
            importlib.import_module(".".join(parts).removesuffix(".__init__"))
        except (ImportError, TypeError):
            pass  # it needs what is not installed, so it cannot be raised either

def below(kind):
    for child in kind.__subclasses__():
        yield child
        yield from below(child)

statuses = {"PermissionDeniedError": 403, "UnprocessableEntityError": 422}
asked = httpx.Request("POST", "http://x")

def made(kind, status):
    response = httpx.Response(statuses.get(kind.__name__, status), request=asked)
    cause = httpx.HTTPStatusError("x", request=asked, response=response)
    given = {"status_code": status, "request": asked, "response": response, "headers": {},
             "original_error": cause, "original_exception": None, "cause": cause, "failures": [],
             "current_cost": 1.0, "max_budget": 1.0, "cooldown_time": 1.0, "max_rounds": 1}
    init = kind.__init__
    wanted = inspect.signature(kind).parameters.values() if inspect.isfunction(init) else ()
    return kind(**{
        p.name: given.get(p.name, "x") for p in wanted
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    })

found, own = {}, {}
for kind in {each for each in below(Exception) if each.__module__.split(".")[0] == "litellm"}:
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__ == "litellm.exceptions":
        own[kind.__name__] = str(litellm_errors.call_error(made(kind, 500)).kind)
    else:
        error = made(kind, 429)
        says = getattr(error, "status_code", None)
        found[name] = [says, str(litellm_errors.call_error(error).kind)]
print(json.dumps([own, found]))
"""
# What LiteLLM may raise of its own making, by name: one that is new fails the test below.
KINDS = {
    "AuthenticationError": ErrorKind.AUTH,
    "PermissionDeniedError": ErrorKind.PERMISSION,
    "RateLimitError": ErrorKind.RATE_LIMIT,
    "PaymentRequiredError": ErrorKind.QUOTA,
    "Timeout": ErrorKind.TIMEOUT,
    "ServiceUnavailableError": ErrorKind.OVERLOADED,
    "MidStreamFallbackError": ErrorKind.OVERLOADED,
    "BadRequestError": ErrorKind.REQUEST,
    "NotFoundError": ErrorKind.REQUEST,
    "ContextWindowExceededError": ErrorKind.REQUEST,
    "ContentPolicyViolationError": ErrorKind.REQUEST,
    "UnprocessableEntityError": ErrorKind.REQUEST,
    "InvalidRequestError": ErrorKind.REQUEST,
    "ImageFetchError": ErrorKind.REQUEST,
    "RejectedRequestError": ErrorKind.REQUEST,
    "GuardrailRaisedException": ErrorKind.REQUEST,
    "BlockedPiiEntityError": ErrorKind.REQUEST,
    "VectorStoreSearchError": ErrorKind.REQUEST,
    "InternalServerError": ErrorKind.PROVIDER,
    "BadGatewayError": ErrorKind.PROVIDER,
    "APIError": ErrorKind.PROVIDER,
    "APIConnectionError": ErrorKind.PROVIDER,
    "APIResponseValidationError": ErrorKind.PROVIDER,
    "JSONSchemaValidationError": ErrorKind.PROVIDER,
    "MockException": ErrorKind.PROVIDER,
    "OpenAIError": ErrorKind.GATEWAY,
    "LiteLLMUnknownProvider": ErrorKind.GATEWAY,
    "UnsupportedParamsError": ErrorKind.GATEWAY,
    "BudgetExceededError": ErrorKind.GATEWAY,
    "ModelNotMappedError": ErrorKind.GATEWAY,
    "ModifyResponseException": ErrorKind.GATEWAY,
    "SensitiveDataRouteException": ErrorKind.GATEWAY,
}


def ran(code: str) -> Any:
    """What a process of its own prints last, as JSON."""
    done = subprocess.run(
        [PYTHON, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_litellm_is_imported_without_network_callbacks_or_talk() -> None:
    """No price list, no telemetry, no retry or fallback of its own, no thread left behind."""
    found = ran(QUIET)
    assert found.pop("threads") == ["MainThread"]
    assert (found.pop("suppress_debug_info"), found.pop("drop_params")) == (True, True)
    assert len([name for name in found if "callback" in name]) > 5
    assert {name: value for name, value in found.items() if value} == {}


def test_every_exception_class_of_litellm_is_sorted() -> None:
    """By the status it carries; what has none, or refuses by itself, is the gateway's failure."""
    own, others = ran(WALK)
    assert own == KINDS
    assert len(others) > 100
    assert sum(kind == ErrorKind.RATE_LIMIT for _, kind in others.values()) > 80
    for name, (status, kind) in others.items():
        assert kind == (classify(status) if status else ErrorKind.GATEWAY), name


def test_the_process_is_up_at_once_says_nothing_and_ends_at_once(tmp_path: Path) -> None:
    """Before LiteLLM is there it says so; an open answer does not hold it back. What goes wrong
    with a call is reported to the caller, and to nobody else."""
    log = tmp_path / "log"
    url = f"http://127.0.0.1:{free_port()}"
    token = "a-token-of-this-test"
    process = subprocess.Popen(
        [PYTHON, "manage.py", "gateway"],
        env={**os.environ, "GATEWAY_URL": url, "GATEWAY_TOKEN": token},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    states: list[str] = []
    with fakes.Upstream() as upstream, httpx.Client(trust_env=False, timeout=60) as client:

        def is_ready() -> bool:
            with suppress(httpx.TransportError):
                states.append(client.get(f"{url}/healthz").json()["status"])
            return "ready" in states

        wait_until(is_ready, 180)
        assert states[0] == "loading"
        behind = {"litellm_model": "openai/stall-mid", "base_url": upstream.url}
        body: dict[str, Any] = {"messages": [{"role": "user", "content": "a-secret-question"}]}
        body |= {"stream": True, "upstream": behind | {"api_key": fakes.KEY}}
        headers = {"Authorization": f"Bearer {token}"}
        path = f"{url}/v1/chat/completions"
        for model in ("500", "401", "reset", "html"):
            failing = body["upstream"] | {"litellm_model": f"openai/{model}"}
            client.post(path, json=body | {"upstream": failing}, headers=headers)
        upstream.reset()
        with client.stream("POST", path, json=body, headers=headers) as answer:
            lines = answer.iter_lines()  # held: httpx closes the connection with the iterator
            next(lines)
            wait_until(lambda: upstream.requests)
            process.terminate()
            process.wait(60)
        wait_until(lambda: upstream.requests[0].disconnected_at)
    said = log.read_text()
    assert "litellm_ready" in said
    for word in ("LiteLLM", "Feedback", "Traceback", "question", "Retrying", fakes.KEY):
        assert word not in said


def test_without_a_token_the_process_does_not_start() -> None:
    """One sentence names the variable and shows an example."""
    refused = subprocess.run(
        [PYTHON, "manage.py", "gateway"],
        env={**os.environ, "GATEWAY_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert refused.returncode != 0
    assert "GATEWAY_TOKEN is not set" in refused.stderr
    assert "Traceback" not in refused.stderr


DETAIL = '{"detail":[{"loc":["body","messages"],"msg":"field required","type":"value_error"}]}'
ZIPPED = gzip.compress(DETAIL.encode()).decode("latin-1")


@pytest.mark.parametrize("prefix", ["openai", "anthropic", "deepseek"])
@pytest.mark.parametrize("body", [DETAIL, ZIPPED])
async def test_a_422_keeps_its_words_and_is_sent_once(
    target: Target, prefix: str, body: str
) -> None:
    """LiteLLM would drop parameters, call again, and end without an answer."""
    calls: list[str] = []
    packed = "Content-Encoding: gzip\r\n" if body == ZIPPED else ""
    head = f"HTTP/1.1 422 Unprocessable Content\r\n{packed}Content-Length: {len(body)}\r\n\r\n"
    async with answering(head + body, calls) as url:
        asked = asking(target, "m", prefix, base_url=url)
        with pytest.raises(CallError) as caught:
            await events(asked)
        error = caught.value
        assert (error.kind, error.status) == (ErrorKind.REQUEST, 422)
        assert (error.message, error.param) == ("messages: field required", "messages")
        assert (await whole(asked))["error"]["message"] == "messages: field required"
    assert len(calls) == 2
    assert all("gzip" not in call for call in calls)


CHOICE = {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}
IN_CHOICE = {"prompt_tokens": 19, "completion_tokens": 13, "cached_tokens": 5}


def sse_answer(*choices: dict[str, Any], packed: bool = False, **last: Any) -> str:
    chunks = [{"id": "q", "choices": [each]} for each in choices] + ([last] if last else [])
    lines = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
    body = gzip.compress(lines.encode()).decode("latin-1") if packed else lines
    encoding = "Content-Encoding: gzip\r\n" if packed else ""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{encoding}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"


STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("answer", "estimated"),
    [
        (sse_answer(CHOICE, STOP | {"usage": IN_CHOICE}), False),
        (sse_answer(CHOICE, STOP, id="q", choices=[], usage=IN_CHOICE), False),
        # LiteLLM reads what is compressed, and counts for itself where it finds no usage.
        (sse_answer(CHOICE, STOP, packed=True, id="q", choices=[], usage=IN_CHOICE), False),
        (sse_answer(CHOICE, STOP, packed=True), True),
    ],
)
async def test_a_vendors_usage_comes_through_and_litellms_own_is_marked(
    target: Target, answer: str, estimated: bool
) -> None:
    """An estimate is never taken for a count."""
    async with answering(answer) as url:
        found = await events(asking(target, "m", base_url=url))
    used = [event.usage for event in found if isinstance(event, UsageReport)][-1]
    assert used.estimated is estimated
    if not estimated:
        assert (used.input_tokens, used.output_tokens) == (19, 13)


async def test_what_litellm_fails_at_by_itself_names_no_exception(target: Target) -> None:
    """A caller can do nothing with a class of Python's; the process's log has it."""
    # In an encoding that is not read here LiteLLM has the answer to itself.
    answer = "HTTP/1.1 200 OK\r\nContent-Encoding: x\r\nContent-Length: 4\r\n\r\nnull"
    async with answering(answer) as url:
        report = (await whole(asking(target, "m", base_url=url)))["error"]
    assert not re.search("Error|Exception|NoneType", f"{report['message']} {report['code']}")


@pytest.mark.parametrize("prefix", ["openai", "anthropic"])
async def test_no_redirect_is_followed_with_the_key(
    target: Target, fake: fakes.Upstream, prefix: str
) -> None:
    """LiteLLM would, and Anthropic's header with the key would go along to whatever host."""
    elsewhere = f"Location: {fake.url}/messages\r\nContent-Length: 0"
    async with answering(f"HTTP/1.1 307 Elsewhere\r\n{elsewhere}\r\n\r\n") as url:
        redirected = asking(target, "echo", prefix, base_url=url)
        with pytest.raises(CallError) as caught:
            await events(redirected)
        assert (caught.value.kind, caught.value.code) == (ErrorKind.REQUEST, "redirect")
        assert (await whole(redirected))["error"]["code"] == "redirect"
    assert fake.requests == []
