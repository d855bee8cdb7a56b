"""Each failure is explained by its cause, with the fix where there is one."""

from dataclasses import replace

import pytest

from providers.diagnosis import diagnose, types
from providers.diagnosis.diagnose import MethodReport
from providers.diagnosis.types import Diagnosis, FailureContext
from providers.domain.errors import MODERATED, CallError, ErrorKind, GatewayError
from providers.domain.types import Method

GENERAL = "https://api.z.ai/api/paas/v4"
CODING = "https://api.z.ai/api/coding/paas/v4"


def context(error: CallError, **fields: object) -> FailureContext:
    base = FailureContext(
        method=Method.DIRECT,
        stage="chat",
        error=error,
        base_url="https://api.example.com/v1",
        has_key=True,
        model_id="m",
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def explained(
    kind: ErrorKind, status: int | None = None, code: str = "", **fields: object
) -> Diagnosis:
    error = CallError(kind, "What it said", status=status, code=code, retry_after=7)
    return diagnose.explain(context(error, **fields))


@pytest.mark.parametrize("code", ["1113", "1309"])
@pytest.mark.parametrize(
    ("url", "other"),
    [
        (GENERAL, CODING),
        (CODING, GENERAL),
        ("http://127.0.0.1:9/api/paas/v4", "http://127.0.0.1:9/api/coding/paas/v4"),
    ],
)
def test_a_zai_mix_up_is_no_rate_limit_but_the_wrong_address(
    code: str, url: str, other: str
) -> None:
    """The other address is offered as the fix, on any host that has Z.ai's paths."""
    kind = ErrorKind.QUOTA if code == "1113" else ErrorKind.AUTH
    result = explained(kind, 429, code, base_url=url)
    assert result.title == "Wrong base URL for this key"
    assert "not a rate limit" in result.cause
    assert result.fix is not None
    assert ("base_url", other) == (result.fix.field, result.fix.value)


def test_the_same_code_elsewhere_is_a_used_up_balance() -> None:
    """Another vendor's 1113 has nothing to do with two addresses."""
    assert "balance or plan" in explained(ErrorKind.QUOTA, 429, "1113").title


@pytest.mark.parametrize(
    ("kind", "status", "code", "title"),
    [
        (ErrorKind.AUTH, 401, "", "Authentication failed - check API key"),
        (ErrorKind.PERMISSION, 403, "", "Permission denied"),
        (ErrorKind.UNREADABLE, None, "key_unreadable", "The stored key cannot be read"),
        (ErrorKind.PERMISSION, 403, MODERATED, "The prompt was refused"),
        (ErrorKind.NETWORK, None, "dns", "Network error - check endpoint and connection"),
        (ErrorKind.NETWORK, None, "tls", "Network error - check endpoint and connection"),
        (ErrorKind.NETWORK, None, "reset", "Network error - check endpoint and connection"),
        (
            ErrorKind.TIMEOUT,
            None,
            "connect_timeout",
            "Network error - check endpoint and connection",
        ),
        (ErrorKind.PROVIDER, 200, "html", "Invalid endpoint - check URL format"),
        (ErrorKind.PROVIDER, 301, "redirect", "Invalid endpoint - check URL format"),
        (ErrorKind.REQUEST, 404, "", "Invalid endpoint - check URL format"),
        (ErrorKind.REQUEST, None, "invalid_url", "Invalid endpoint - check URL format"),
        (ErrorKind.REQUEST, None, "address_refused", "Invalid endpoint - check URL format"),
        (ErrorKind.RATE_LIMIT, 429, "", "Rate limit exceeded - try again later"),
        (ErrorKind.QUOTA, 402, "", "The balance or plan is used up"),
        (ErrorKind.OVERLOADED, 503, "", "The provider is overloaded"),
        (ErrorKind.TIMEOUT, None, "first_token_timeout", "No answer in time"),
        (ErrorKind.PROVIDER, 500, "", "The provider failed"),
        (ErrorKind.PROVIDER, None, "truncated", "The answer broke off"),
        (ErrorKind.REQUEST, 400, "", "The provider refused the request"),
        (ErrorKind.REQUEST, 404, "model_not_found", "The model was not found"),
    ],
)
def test_each_failure_has_its_title(
    kind: ErrorKind, status: int | None, code: str, title: str
) -> None:
    """The four classic texts are word for word those of the design."""
    assert title == explained(kind, status, code).title


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_of_error_is_explained(kind: ErrorKind) -> None:
    """No failure is left without a cause and an advice."""
    result = explained(kind)
    assert result.title
    assert result.cause
    assert result.advice


def test_a_missing_key_differs_from_a_wrong_one() -> None:
    """The advice says where to create one."""
    result = explained(ErrorKind.AUTH, 401, has_key=False, preset="openai")
    assert "none is set" in result.cause
    assert "https://platform.openai.com/api-keys" in result.advice


def test_a_rate_limit_carries_its_wait() -> None:
    """For the countdown."""
    assert explained(ErrorKind.RATE_LIMIT, 429).retry_after == 7


def test_a_list_that_is_missing_while_a_chat_works_is_no_failure() -> None:
    """Models come from the offline catalogue."""
    result = explained(ErrorKind.REQUEST, 404, stage="models", succeeded=frozenset({"chat"}))
    assert "Nothing is wrong" in result.advice


def test_a_404_on_a_chat_behind_a_good_list_is_the_model() -> None:
    """The address is right, or the list would not be there."""
    listed = frozenset({"models"})
    assert explained(ErrorKind.REQUEST, 404, succeeded=listed).title == "The model was not found"
    through = explained(
        ErrorKind.REQUEST,
        404,
        succeeded=listed,
        method=Method.GATEWAY,
        gateway_endpoint="http://proxy:4000",
    )
    assert through.title == "The gateway does not serve this model"


@pytest.mark.parametrize(
    ("url", "fixed"),
    [
        ("https://api.example.com/v1/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1/chat/completions", "https://api.example.com/v1"),
        ("https://api.example.com", "https://api.example.com/v1"),
    ],
)
def test_a_wrong_path_is_corrected(url: str, fixed: str) -> None:
    """Doubled, pasted, or without a version."""
    result = explained(ErrorKind.REQUEST, 404, base_url=url)
    assert result.fix is not None
    assert fixed == result.fix.value


def test_localhost_in_a_container_is_the_container() -> None:
    """The machine around it has another name."""
    result = explained(
        ErrorKind.NETWORK,
        code="connect_refused",
        base_url="http://localhost:11434/v1",
        in_container=True,
    )
    assert result.fix is not None
    assert result.fix.value == "http://host.docker.internal:11434/v1"
    outside = explained(
        ErrorKind.NETWORK, code="connect_refused", base_url="http://localhost:11434/v1"
    )
    assert "Start the program" in outside.advice


@pytest.mark.parametrize("code", ["reset", "cut"])
@pytest.mark.parametrize("in_container", [True, False])
def test_a_connection_that_was_accepted_and_closed_is_not_a_missing_server(
    code: str, in_container: bool
) -> None:
    """Something listens there, in a container too: another address would be the wrong advice."""
    result = explained(
        ErrorKind.NETWORK, code=code, base_url="http://localhost:1/v1", in_container=in_container
    )
    assert result.fix is None
    assert "accepted the connection" in result.cause


def test_https_on_a_local_plain_server_offers_http() -> None:
    """A self-signed or missing certificate on this machine."""
    result = explained(ErrorKind.NETWORK, code="tls", base_url="https://127.0.0.1:8443/v1")
    assert result.fix is not None
    assert result.fix.value == "http://127.0.0.1:8443/v1"


@pytest.mark.parametrize(
    ("error", "endpoint", "title"),
    [
        (GatewayError("Refused."), "http://proxy:4000", types.NETWORK),
        (GatewayError("Refused."), "", "The gateway process does not answer"),
        (GatewayError("No.", status=401), "http://proxy:4000", types.AUTH),
        (GatewayError("No.", status=401, code="gateway_key"), "", types.AUTH),
        (GatewayError("No.", code="gateway_loading"), "", "The gateway process is starting"),
        (GatewayError("No.", code="litellm_missing"), "", "The gateway process cannot work"),
        (GatewayError("No.", status=500), "http://proxy:4000", "The gateway failed"),
    ],
)
def test_the_gateways_own_failures_are_its_own(error: CallError, endpoint: str, title: str) -> None:
    """The provider's key and address are not blamed for them."""
    result = diagnose.explain(context(error, method=Method.GATEWAY, gateway_endpoint=endpoint))
    assert title == result.title


def get_context(report: MethodReport, stage: str, error: CallError) -> FailureContext:
    return context(error, method=report.method, stage=stage, succeeded=report.succeeded)


OK = frozenset({"connect", "models", "chat"})
AUTH = CallError(ErrorKind.AUTH, "No.", status=401)


def test_a_cause_of_both_methods_is_listed_once() -> None:
    """With the most useful error of each method."""
    gone = CallError(ErrorKind.REQUEST, "Gone", status=404)
    reports = tuple(
        MethodReport(method=m, succeeded=frozenset(), failed=(("models", gone), ("chat", AUTH)))
        for m in Method
    )
    result = diagnose.summarize(reports, get_context)
    assert (result.tone, result.title) == ("error", types.AUTH)
    assert [tuple(Method)] == [finding.methods for finding in result.findings]


def test_one_working_method_is_a_warning() -> None:
    """The title names the one that works."""
    reports = (
        MethodReport(method=Method.DIRECT, succeeded=OK),
        MethodReport(method=Method.GATEWAY, succeeded=frozenset(), failed=(("connect", AUTH),)),
    )
    result = diagnose.summarize(reports, get_context)
    assert (result.tone, result.title) == ("warn", "It works directly, but not through the gateway")


def test_two_working_methods_are_good() -> None:
    """A missing list beside a good chat does not change that."""
    gone = CallError(ErrorKind.REQUEST, "Gone", status=404)
    reports = (
        MethodReport(method=Method.DIRECT, succeeded=OK - {"models"}, failed=(("models", gone),)),
        MethodReport(method=Method.GATEWAY, succeeded=OK),
    )
    result = diagnose.summarize(reports, get_context)
    assert (result.tone, result.title) == ("ok", "It works over both connections")
    assert "Nothing is wrong" in result.findings[0].diagnosis.advice
