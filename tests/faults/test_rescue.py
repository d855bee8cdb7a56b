"""A fault on the first route with a good one behind it: who is rescued, and who must not be."""

from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from pytest_django import Settings

from providers.domain.errors import ErrorKind
from providers.models import Provider
from tests import fakes
from tests.faults.asking import complete
from tests.faults.expected import DIRECT
from tests.upstreams.fixtures import GatewayProcess

MakeProvider = Callable[..., Provider]
pytestmark = pytest.mark.django_db(transaction=True)

# Another route leads to the same provider: it helps where the route was at fault, or where the
# gateway there shows a key of its own.
BY_ANY_ROUTE = (
    *("500", "html", "garbage", "empty", "nothing", "error-in-200", "error-body", "10-mb"),
    *("reset", "stall-headers", "stall-first", "truncated-at-once"),
)
BY_ANOTHER_KEY = (
    "401",
    "403",
    "403-moderated",
    "402",
    "429-seconds",
    "429-nonsense",
    "429-silent",
    "429-words",
    "429-long",
    "zai-1302",
    "zai-1308",
)
BY_NOBODY = ("400", "too-long", "400-filter", "filtered", "zai-1211", "zai-1301")
TOO_LATE = ("cut-40", "stall-40", "eof-40", "truncated-40", "garbled-40", "error-40")


def test_every_fault_is_decided() -> None:
    """None is left out, but those that are waited for."""
    repeated = {"503", "503-silent", "529", "429-date", "429-ms", "once-"}
    failing = {name for name, expected in DIRECT.items() if expected.kind}
    decided = {*BY_ANY_ROUTE, *BY_ANOTHER_KEY, *BY_NOBODY, *TOO_LATE, *repeated}
    assert failing <= decided


def behaviours(fake: fakes.Upstream) -> list[str]:
    """Of the chats; beside them the list of models may be read, to check a refused key."""
    return [each.behaviour for each in fake.requests if not each.path.endswith("/models")]


@pytest.fixture
def two_routes(
    make_provider: MakeProvider, fake: fakes.Upstream, impatient: Settings
) -> MakeProvider:
    """A provider whose own API has a fault, and whose LiteLLM endpoint has none."""

    def make(fault: str) -> Provider:
        return make_provider(
            model_id="sixty",
            base_url=fake.fault(fault),
            gateway_endpoint=fake.fault("sixty"),
            api_key=fakes.KEY,
            gateway_api_key=fakes.KEY,
        )

    return make


@pytest.mark.parametrize("fault", [*BY_ANY_ROUTE, *BY_ANOTHER_KEY])
async def test_a_fault_before_the_first_token_is_rescued_unseen(
    two_routes: MakeProvider, fake: fakes.Upstream, fault: str
) -> None:
    """One call on each route, at once, and the whole canonical text."""
    provider = await sync_to_async(two_routes)(fault)
    answer = await complete(provider, "sixty")
    assert (answer.text, answer.kind) == (fakes.SIXTY, None)
    assert behaviours(fake) == [fault, "sixty"]
    assert [attempt.method for attempt in answer.attempts] == ["direct", "gateway"]
    assert answer.outcomes[1] == "ok"
    assert answer.taken is not None
    assert answer.taken.reason.startswith("gateway: direct failed (")
    assert (answer.taken.fallback, answer.taken.attempts) == (True, 2)


@pytest.mark.parametrize("fault", [*BY_NOBODY, *TOO_LATE])
async def test_a_request_that_is_refused_or_begun_is_not_taken_elsewhere(
    two_routes: MakeProvider, fake: fakes.Upstream, impatient: Settings, fault: str
) -> None:
    """What is the request's own fault is so everywhere; after the first token nothing switches."""
    impatient.TIMEOUT_SILENCE = 0.5
    provider = await sync_to_async(two_routes)(fault)
    answer = await complete(provider, "sixty")
    assert behaviours(fake) == [fault]
    assert answer.kind is not None
    assert fakes.SIXTY.startswith(answer.text)
    assert bool(answer.text) is (fault in TOO_LATE)


@pytest.mark.parametrize("fault", ["503-silent", "zai-1305", "401", "zai-1113", "429-long"])
async def test_the_same_account_by_another_route_is_left_alone(
    two_routes: MakeProvider,
    fake: fakes.Upstream,
    impatient: Settings,
    warm_process: GatewayProcess,
    fault: str,
) -> None:
    """Our gateway process shows the same key to the same provider: it would be refused as well."""
    impatient.GATEWAY_URL, impatient.GATEWAY_TOKEN = warm_process.url, warm_process.token
    provider = await sync_to_async(two_routes)(fault)
    await Provider.objects.filter(pk=provider.pk).aupdate(gateway_endpoint="")
    await sync_to_async(provider.ensure_routes)()
    answer = await complete(provider, "sixty")
    assert answer.kind in (
        ErrorKind.OVERLOADED,
        ErrorKind.AUTH,
        ErrorKind.QUOTA,
        ErrorKind.RATE_LIMIT,
    )
    assert {attempt.method for attempt in answer.attempts} == {"direct"}
