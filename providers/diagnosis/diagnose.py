"""Which cause speaks for a failed call, and what a whole test amounts to. No I/O.

A table of rules, most telling first: the first whose condition holds decides. Status, code and the
address's shape are what is looked at; prose never is.
"""

from collections.abc import Callable
from typing import Literal

from providers.diagnosis import connection_causes, response_causes, wording
from providers.diagnosis.types import Diagnosis, FailureContext, Words
from providers.domain import base_url
from providers.domain.errors import MODERATED, NO_SUCH_MODEL, CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.policy import plan

type Condition = Callable[[FailureContext], bool]
type EvidenceOf = Callable[["Road", str, CallError], FailureContext]


def explain(evidence: FailureContext) -> Diagnosis:
    """The first rule that fits; the last one fits everything."""
    return next(words(evidence) for holds, words in _RULES if holds(evidence))


@frozen
class Road:
    """How a test went over one method: the steps that went well, those that did not, and what is
    to be said of those that went well enough."""

    method: Method
    succeeded: frozenset[str]
    failed: tuple[tuple[str, CallError], ...] = ()
    remarks: tuple[tuple[str, CallError], ...] = ()

    @property
    def works(self) -> bool:
        """Whether it can be used: with a chat, or, where none was asked, as far as was seen."""
        broken = {step for step, _ in self.failed} - {"models"}
        return not broken and not self.succeeded.isdisjoint({"chat", "models"})


@frozen
class Finding:
    """A diagnosis and the methods it holds for."""

    methods: tuple[Method, ...]
    diagnosis: Diagnosis

    @property
    def wait(self) -> str:
        return wording.waiting(self.diagnosis.retry_after)


@frozen
class Verdict:
    """What a whole test amounts to, and what was found on the way."""

    tone: Literal["ok", "warn", "error"]
    title: str
    findings: tuple[Finding, ...] = ()


def verdict(
    roads: tuple[Road, ...], evidence_of: EvidenceOf, good: str = "It works over both connections"
) -> Verdict:
    """One sentence for the whole, and each different cause once, however many routes show it."""
    found: dict[Diagnosis, list[Method]] = {}
    for road in roads:
        for step, error in _telling(road):
            found.setdefault(explain(evidence_of(road, step, error)), []).append(road.method)
    findings = tuple(Finding(methods=tuple(m), diagnosis=d) for d, m in found.items())
    working = [road.method.value for road in roads if road.works]
    if not working:
        return Verdict(tone="error", title=findings[0].diagnosis.title, findings=findings)
    if len(working) == len(roads):
        return Verdict(tone="ok", title=good, findings=findings)
    broken = next(road.method.value for road in roads if not road.works)
    return Verdict(
        tone="warn",
        title=f"It works {_way(working[0])}, but not {_way(broken)}",
        findings=findings,
    )


def _way(method: str) -> str:
    return "directly" if method == Method.DIRECT else "through the gateway"


def _telling(road: Road) -> list[tuple[str, CallError]]:
    """What is said of a route: all that is odd where it works, else the most useful failure."""
    if road.works or not road.failed:
        return [*road.failed, *road.remarks]
    best = plan.most_useful([error for _, error in road.failed])
    return [next((step, error) for step, error in road.failed if error is best)]


# Z.ai: 1113 is "no balance", 1309 "no plan": with the right key they mean the other base URL.
_ZAI_MIX_UP = frozenset({"1113", "1309"})


def _is_zai_mix_up(e: FailureContext) -> bool:
    return e.code in _ZAI_MIX_UP and bool(base_url.zai_other(e.base_url))


def _is(kind: ErrorKind, *codes: str) -> Condition:
    return lambda e: e.error.kind == kind and (not codes or e.code in codes)


def _code(*codes: str) -> Condition:
    return lambda e: e.code in codes


def _status(*statuses: int | None) -> Condition:
    return lambda e: e.error.status in statuses


def _all(*conditions: Condition) -> Condition:
    return lambda e: all(holds(e) for holds in conditions)


def _through_proxy(e: FailureContext) -> bool:
    return e.method == Method.GATEWAY and bool(e.gateway_endpoint)


def _not_reached(e: FailureContext) -> bool:
    """Whether it is the server at this route's address that was not reached."""
    proxy = e.error.kind == ErrorKind.GATEWAY and _through_proxy(e)
    return e.error.kind == ErrorKind.NETWORK or proxy


def _is_container_itself(e: FailureContext) -> bool:
    """Nothing listens there. Who resets a connection has accepted it first, so something does."""
    refused = e.code in ("connect_refused", "unreachable")
    return refused and e.in_container and base_url.is_local(e.address)


def _needs_key(e: FailureContext) -> bool:
    return not e.has_key and not _through_proxy(e)


def _lists_models(e: FailureContext) -> bool:
    return e.step == "chat" and "models" in e.succeeded


def _beside_a_chat(e: FailureContext) -> bool:
    return e.step == "models" and "chat" in e.succeeded


# What no tidier address would mend.
_OTHERWISE = frozenset(
    {ErrorKind.AUTH, ErrorKind.PERMISSION, ErrorKind.QUOTA, ErrorKind.RATE_LIMIT}
)


def _is_untidy(e: FailureContext) -> bool:
    """Whether there is more in the address than a slash or a capital letter too many."""
    tidied = base_url.tidy(e.address).url
    return e.error.kind not in _OTHERWISE and tidied.lower() != e.address.lower().rstrip("/")


_BROKEN_OFF = ("reset", "cut")
_UNREADABLE = frozenset({"invalid_url", "bad_header", "invalid_header"})

_RULES: tuple[tuple[Condition, Words], ...] = (
    (_is(ErrorKind.UNREADABLE), response_causes.key_unreadable),
    (_is_zai_mix_up, response_causes.zai_mix_up),
    (_code("address_refused"), connection_causes.address_refused),
    (lambda e: base_url.undoubled(e.address) != e.address, connection_causes.doubled),
    (_code("invalid_address"), connection_causes.misshapen),
    (_is_untidy, connection_causes.untidy),
    (_all(_code(*NO_SUCH_MODEL), _through_proxy), response_causes.gateway_lacks_model),
    (
        _all(_is(ErrorKind.GATEWAY), _status(400, 401, 403), _through_proxy),
        response_causes.gateway_refuses,
    ),
    (_all(_is(ErrorKind.GATEWAY), _status(401)), response_causes.gateway_token),
    (_code("gateway_loading"), response_causes.gateway_loading),
    (_code("litellm_missing"), response_causes.litellm_missing),
    (_all(_not_reached, _code("dns")), connection_causes.dns),
    (_all(_not_reached, _code("tls_certificate")), connection_causes.certificate),
    (_all(_not_reached, _code("tls")), connection_causes.tls),
    (_all(_not_reached, _is_container_itself), connection_causes.local),
    (_all(_is(ErrorKind.GATEWAY), _status(None)), connection_causes.gateway_away),
    (_is(ErrorKind.GATEWAY), response_causes.gateway_failed),
    (_code("html"), connection_causes.html),
    (_code("redirect"), connection_causes.redirected),
    (_code(*_UNREADABLE), connection_causes.unreadable),
    (_code("empty_list"), response_causes.list_empty),
    (_all(_beside_a_chat, _code("json", "catalogue_shape")), response_causes.list_strange),
    (_beside_a_chat, response_causes.list_missing),
    (_code(*NO_SUCH_MODEL), response_causes.model_missing),
    (_all(_status(404), _lists_models, _through_proxy), response_causes.gateway_lacks_model),
    (_all(_status(404), _lists_models), response_causes.model_missing),
    (_status(404, 405), connection_causes.not_found),
    (_all(_is(ErrorKind.AUTH), _needs_key), response_causes.no_key),
    (_is(ErrorKind.PERMISSION, MODERATED), response_causes.moderated),
    (_is(ErrorKind.PERMISSION), response_causes.forbidden),
    (_is(ErrorKind.AUTH), response_causes.unauthorised),
    (_is(ErrorKind.QUOTA), response_causes.quota),
    (_is(ErrorKind.RATE_LIMIT), response_causes.rate_limit),
    (_is(ErrorKind.OVERLOADED), response_causes.overloaded),
    (
        _all(_is(ErrorKind.NETWORK, "connect_refused"), lambda e: base_url.is_local(e.address)),
        connection_causes.local,
    ),
    (_is(ErrorKind.NETWORK, *_BROKEN_OFF), connection_causes.broken_off),
    (_is(ErrorKind.NETWORK), connection_causes.network),
    (_is(ErrorKind.TIMEOUT, "connect_timeout"), connection_causes.unreached),
    (_is(ErrorKind.TIMEOUT), response_causes.first_token),
    (_code("truncated"), response_causes.truncated),
    (_code("not_streamed"), response_causes.not_streamed),
    (_code("thinks_aloud"), response_causes.thinks_aloud),
    (_code("no_usage"), response_causes.no_usage),
    (_is(ErrorKind.REQUEST), response_causes.refused_request),
    (lambda _: True, response_causes.provider_failed),
)
