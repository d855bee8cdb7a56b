"""Which cause speaks for a failed call, and what a whole test amounts to. No I/O.

A table of rules, most telling first: the first whose condition holds decides. Status, code and the
address's shape are what is looked at; prose never is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from providers import addresses, causes, routing, summary
from providers.causes import Diagnosis, Evidence, Words
from providers.errors import CallError, ErrorKind
from providers.types import Method

type Condition = Callable[[Evidence], bool]
type EvidenceOf = Callable[["Road", str, CallError], Evidence]


def explain(evidence: Evidence) -> Diagnosis:
    """The first rule that fits; the last one fits everything."""
    return next(words(evidence) for holds, words in _RULES if holds(evidence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """How a test went over one method: the steps that went well, and those that did not."""

    method: Method
    succeeded: frozenset[str]
    failed: tuple[tuple[str, CallError], ...] = ()

    @property
    def works(self) -> bool:
        return "chat" in self.succeeded or not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A diagnosis and the methods it holds for."""

    methods: tuple[Method, ...]
    diagnosis: Diagnosis

    @property
    def wait(self) -> str:
        return summary.waiting(self.diagnosis.retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a whole test amounts to, and what was found on the way."""

    tone: Literal["ok", "warn", "error"]
    title: str
    findings: tuple[Finding, ...] = ()


def verdict(roads: tuple[Road, ...], evidence_of: EvidenceOf) -> Verdict:
    """One sentence for the whole, and each different cause once, however many roads show it."""
    found: dict[Diagnosis, list[Method]] = {}
    for road in roads:
        if road.failed:
            step, error = _telling(road)
            found.setdefault(explain(evidence_of(road, step, error)), []).append(road.method)
    findings = tuple(Finding(methods=tuple(m), diagnosis=d) for d, m in found.items())
    working = [road.method.value for road in roads if road.works]
    if not working:
        return Verdict(tone="error", title=findings[0].diagnosis.title, findings=findings)
    if len(working) == len(roads):
        return Verdict(tone="ok", title="It works over both roads", findings=findings)
    broken = next(road.method.value for road in roads if not road.works)
    return Verdict(
        tone="warn",
        title=f"It works {_way(working[0])}, but not {_way(broken)}",
        findings=findings,
    )


def _way(method: str) -> str:
    return "directly" if method == Method.DIRECT else "through the gateway"


def _telling(road: Road) -> tuple[str, CallError]:
    best = routing.most_useful([error for _, error in road.failed])
    return next((step, error) for step, error in road.failed if error is best)


# Z.ai: 1113 is "no balance", 1309 "no plan": with the right key they mean the other base URL.
_ZAI_MIX_UP = frozenset({"1113", "1309"})


def _is_zai_mix_up(e: Evidence) -> bool:
    return e.code in _ZAI_MIX_UP and bool(addresses.zai_other(e.base_url))


def _is(kind: ErrorKind, *codes: str) -> Condition:
    return lambda e: e.error.kind == kind and (not codes or e.code in codes)


def _status(*statuses: int | None) -> Condition:
    return lambda e: e.error.status in statuses


def _all(*conditions: Condition) -> Condition:
    return lambda e: all(holds(e) for holds in conditions)


def _through_proxy(e: Evidence) -> bool:
    return e.method == Method.GATEWAY and bool(e.gateway_endpoint)


def _needs_key(e: Evidence) -> bool:
    return not e.has_key and not _through_proxy(e)


def _lists_models(e: Evidence) -> bool:
    return e.step == "chat" and "models" in e.succeeded


_UNREADABLE = frozenset({"invalid_url", "bad_header", "invalid_header"})
_NO_SUCH_MODEL = frozenset({"model_not_found", "1211"})

_RULES: tuple[tuple[Condition, Words], ...] = (
    (_is_zai_mix_up, causes.zai_mix_up),
    (lambda e: e.code == "address_refused", causes.address_refused),
    (lambda e: addresses.undoubled(e.base_url) != e.base_url, causes.doubled),
    (lambda e: addresses.tidy(e.base_url).url != e.base_url, causes.pasted_call),
    (_all(lambda e: e.code in _NO_SUCH_MODEL, _through_proxy), causes.gateway_lacks_model),
    (_all(_is(ErrorKind.GATEWAY), _status(400, 401, 403), _through_proxy), causes.gateway_refuses),
    (_all(_is(ErrorKind.GATEWAY), _status(401)), causes.gateway_token),
    (lambda e: e.code == "litellm_missing", causes.litellm_missing),
    (_all(_is(ErrorKind.GATEWAY), _status(None)), causes.gateway_away),
    (_is(ErrorKind.GATEWAY), causes.gateway_failed),
    (lambda e: e.code == "html", causes.html),
    (lambda e: e.code == "redirect", causes.redirected),
    (lambda e: e.code in _UNREADABLE, causes.unreadable),
    (lambda e: e.step == "models" and "chat" in e.succeeded, causes.list_missing),
    (lambda e: e.code in _NO_SUCH_MODEL, causes.model_missing),
    (_all(_status(404), _lists_models, _through_proxy), causes.gateway_lacks_model),
    (_all(_status(404), _lists_models), causes.model_missing),
    (_status(404, 405), causes.not_found),
    (_all(_is(ErrorKind.AUTH), _needs_key), causes.no_key),
    (_all(_is(ErrorKind.AUTH), _status(403)), causes.forbidden),
    (_is(ErrorKind.AUTH), causes.unauthorised),
    (_is(ErrorKind.QUOTA), causes.quota),
    (_is(ErrorKind.RATE_LIMIT), causes.rate_limit),
    (_is(ErrorKind.OVERLOADED), causes.overloaded),
    (_is(ErrorKind.NETWORK, "dns"), causes.dns),
    (_is(ErrorKind.NETWORK, "tls", "tls_certificate"), causes.tls),
    (_all(_is(ErrorKind.NETWORK), lambda e: addresses.is_local(e.address)), causes.local),
    (_is(ErrorKind.NETWORK), causes.network),
    (_is(ErrorKind.TIMEOUT, "connect_timeout"), causes.unreached),
    (_is(ErrorKind.TIMEOUT), causes.first_token),
    (lambda e: e.code == "truncated", causes.truncated),
    (_is(ErrorKind.REQUEST), causes.refused_request),
    (lambda _: True, causes.provider_failed),
)
