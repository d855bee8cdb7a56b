"""Every fault over every route: the calls, their gaps, the text, the error, the state, the rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.domain.types import ChatRequest
from providers.models import Provider
from providers.policy.breaker import State
from tests import fakes
from tests.faults.asking import QUESTION, Answer, RouteSetup, complete
from tests.faults.expected import DIRECT, PROCESS, PROXY, WHOLE, ZAI, Expected
from tests.upstreams.faults import ZAI as ZAI_CODES
from tests.upstreams.plans import slow_text

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)
MOST_OVER = 10.0  # seconds that a wait may take longer than was asked for: a date has no fraction
SOCKETS = 2**20  # bytes that may wait in the buffers of a connection's two ends


@pytest.fixture(autouse=True)
def _patience(impatient: Settings, request: pytest.FixtureRequest) -> None:
    """What never begins to answer is waited for a second, what falls silent for half of one."""
    name = request.node.callspec.params.get("name", "") if hasattr(request.node, "callspec") else ""
    if name in ("stall-headers", "stall-first"):
        impatient.TIMEOUT_FIRST_TOKEN_LAST = 1.0
    if name == "stall-40":
        impatient.TIMEOUT_SILENCE = 0.5


async def judged(
    make_provider: MakeProvider,
    fake: fakes.Upstream,
    route: RouteSetup,
    model: str,
    expected: Expected,
    request: ChatRequest = QUESTION,
) -> Answer:
    """Asks once over one route, and compares everything that is left of it."""
    provider = await sync_to_async(make_provider)(model_id=model, **route.fields)
    answer = await complete(provider, model, request)
    assert (answer.kind, answer.outcomes) == (expected.kind, expected.outcomes)
    said = slow_text(expected.words)
    assert answer.text == said or (expected.lossy and said.startswith(answer.text))
    # Beside these, the list of models may be read, to check a refused key.
    assert sum(not r.path.endswith("/models") for r in fake.requests) == expected.calls
    assert all(expected.waits <= gap < expected.waits + MOST_OVER for gap in fake.gaps), fake.gaps
    assert [attempt.position for attempt in answer.attempts] == [*range(1, expected.calls + 1)]
    assert {(a.method, a.endpoint) for a in answer.attempts} == {(route.method, route.endpoint)}
    moved = answer.breaker(route.method, route.endpoint)
    assert (moved.state, moved.consecutive_failures) == (expected.state, expected.failures)
    assert answer.attempts[-1].error_code == expected.code or not expected.code
    assert fake.requests[0].written < SOCKETS
    assert fakes.KEY not in repr([(a.error_message, a.reason) for a in answer.attempts])
    return answer


@pytest.mark.parametrize("name", DIRECT)
async def test_direct(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, name: str
) -> None:
    """As the table of errors says, to the call."""
    answer = await judged(make_provider, fake, direct, name, DIRECT[name])
    if name == "no-usage":
        assert answer.completed is not None
        assert answer.completed.usage.estimated


@pytest.mark.parametrize("name", WHOLE)
async def test_direct_gathered(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, name: str
) -> None:
    """The same for a caller who does not stream; what breaks in its middle fails as a whole."""
    asking = replace(QUESTION, non_streaming=True)
    await judged(make_provider, fake, direct, name, WHOLE[name], asking)
    chats = [record for record in fake.requests if record.body]
    assert all(record.body["stream"] for record in chats)


@pytest.mark.parametrize("name", WHOLE)
async def test_direct_in_one_piece(
    make_provider: MakeProvider,
    fake: fakes.Upstream,
    direct: RouteSetup,
    impatient: Settings,
    name: str,
) -> None:
    """The same where no stream would carry all of the answer."""
    if name.startswith("stall"):
        impatient.TIMEOUT_WHOLE = 1.0
    asking = replace(QUESTION, non_streaming=True, options={"prompt_logprobs": 1})
    await judged(make_provider, fake, direct, name, WHOLE[name], asking)
    assert not any(record.body.get("stream") for record in fake.requests)


@pytest.mark.parametrize("name", PROCESS)
async def test_over_our_gateway_process(
    make_provider: MakeProvider, fake: fakes.Upstream, process: RouteSetup, name: str
) -> None:
    """The same: what LiteLLM hides is reported."""
    if name == "reset":  # over a connection that was kept it would be sent again
        fake.stop()
        fake.start()
    await judged(make_provider, fake, process, name, PROCESS[name])


@pytest.mark.parametrize("name", PROXY)
async def test_over_a_litellm_proxy(
    make_provider: MakeProvider, fake: fakes.Upstream, proxy: RouteSetup, name: str
) -> None:
    """The same, but for what a proxy does not let through."""
    await judged(make_provider, fake, proxy, name, PROXY[name])


@pytest.mark.parametrize("code", ZAI)
async def test_every_code_of_zai_has_its_own_consequence(
    make_provider: MakeProvider, fake: fakes.Upstream, direct: RouteSetup, code: str
) -> None:
    """All come as 429 or 400: only the code distinguishes a limit, a balance and a plan."""
    await judged(make_provider, fake, direct, f"zai-{code}", ZAI[code])


@pytest.mark.parametrize("code", ["1002", "1113", "1302", "1305", "1211"])
async def test_the_codes_of_zai_come_through_our_gateway_process(
    make_provider: MakeProvider, fake: fakes.Upstream, process: RouteSetup, code: str
) -> None:
    """One of each kind."""
    await judged(make_provider, fake, process, f"zai-{code}", ZAI[code])


def test_every_code_that_the_fake_knows_is_judged() -> None:
    """None is left out of the table."""
    assert set(ZAI) == set(ZAI_CODES)


NOWHERE = {"refused": "connect_refused", "unknown": "dns", "untrusted": "tls_certificate"}


@pytest.mark.parametrize("route", ["direct", "process"])
@pytest.mark.parametrize("place", NOWHERE)
async def test_what_is_not_reached_is_reported_as_such(
    make_provider: MakeProvider, request: pytest.FixtureRequest, route: str, place: str
) -> None:
    """Asked once a request, and twice in all: an address that never worked is set to rest."""
    taken: RouteSetup = request.getfixturevalue(route)
    with fakes.Upstream(tls=True) as lying:
        url = {
            "refused": f"http://127.0.0.1:{fakes.refusing_port()}/v1",
            "unknown": fakes.UNKNOWN_HOST,
            "untrusted": lying.url,
        }[place]
        provider = await sync_to_async(make_provider)(
            model_id="echo", **taken.fields | {"base_url": url}
        )
        for state in (State.CLOSED, State.OPEN):
            answer = await complete(provider, "echo")
            assert answer.outcomes == ["network"]
            assert answer.attempts[0].error_code == NOWHERE[place]
            assert answer.routes[taken.method, ""].state == state
        assert lying.requests == []


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "What it does, and when to take it. " * 90,
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
    for number in range(10)
]


@pytest.mark.parametrize("route", ["direct", "process", "proxy"])
async def test_a_body_as_big_as_opencodes_arrives_whole(
    make_provider: MakeProvider, fake: fakes.Upstream, request: pytest.FixtureRequest, route: str
) -> None:
    """31 KB and ten tools, on a route that fails once: both bodies are the same."""
    taken: RouteSetup = request.getfixturevalue(route)
    provider = await sync_to_async(make_provider)(model_id="once-500", **taken.fields)
    asking = replace(QUESTION, options={"tools": TOOLS, "tool_choice": "auto"})
    answer = await complete(provider, "once-500", asking)
    assert answer.text == fakes.SIXTY
    assert [record.body["tools"] for record in fake.requests] == [TOOLS, TOOLS]
    assert all(record.size > 31_000 for record in fake.requests)
