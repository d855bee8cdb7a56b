"""Find the cause of a failed call, and summarize a test. No I/O.

Causes are chosen by a table of rules, most specific first: the first rule whose condition holds
decides. Conditions look at status, code and the form of the address, never at a message's text.
"""

from collections.abc import Callable
from typing import Literal

from providers.diagnosis import connection_causes, response_causes, wording
from providers.diagnosis.types import Diagnosis, Explain, FailureContext
from providers.domain import base_url
from providers.domain.errors import MODERATED, NO_SUCH_MODEL, CallError, ErrorKind
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.policy import plan

type Condition = Callable[[FailureContext], bool]
type GetContext = Callable[["MethodReport", str, CallError], FailureContext]


def explain(failure: FailureContext) -> Diagnosis:
    """Apply the first rule that matches; the last one always does."""
    return next(explain(failure) for matches, explain in _RULES if matches(failure))


@frozen
class MethodReport:
    """A test's stages over one method: those that succeeded, those that failed, and remarks on
    those that succeeded with a warning."""

    method: Method
    succeeded: frozenset[str]
    failed: tuple[tuple[str, CallError], ...] = ()
    remarks: tuple[tuple[str, CallError], ...] = ()

    @property
    def works(self) -> bool:
        """Whether the method can be used. A missing list of models does not matter."""
        broken = {stage for stage, _ in self.failed} - {"models"}
        return not broken and not self.succeeded.isdisjoint({"chat", "models"})


@frozen
class Finding:
    """A diagnosis and the methods it applies to."""

    methods: tuple[Method, ...]
    diagnosis: Diagnosis

    @property
    def wait(self) -> str:
        return wording.format_wait(self.diagnosis.retry_after)


@frozen
class Verdict:
    """The result of a test in one sentence, with its findings."""

    tone: Literal["ok", "warn", "error"]
    title: str
    findings: tuple[Finding, ...] = ()


def summarize(
    reports: tuple[MethodReport, ...],
    get_context: GetContext,
    success: str = "It works over both connections",
) -> Verdict:
    """One sentence for the test, and each different cause once, with the methods that show it."""
    methods_by_cause: dict[Diagnosis, list[Method]] = {}
    for report in reports:
        for stage, error in _relevant_errors(report):
            diagnosis = explain(get_context(report, stage, error))
            methods_by_cause.setdefault(diagnosis, []).append(report.method)
    findings = tuple(
        Finding(methods=tuple(methods), diagnosis=diagnosis)
        for diagnosis, methods in methods_by_cause.items()
    )
    working = [report.method for report in reports if report.works]
    if not working:
        return Verdict(tone="error", title=findings[0].diagnosis.title, findings=findings)
    if len(working) == len(reports):
        return Verdict(tone="ok", title=success, findings=findings)
    broken = next(report.method for report in reports if not report.works)
    title = f"It works {_adverb(working[0])}, but not {_adverb(broken)}"
    return Verdict(tone="warn", title=title, findings=findings)


def _adverb(method: Method) -> str:
    return "directly" if method == Method.DIRECT else "through the gateway"


def _relevant_errors(report: MethodReport) -> list[tuple[str, CallError]]:
    """Everything unusual where the method works, else the most useful failure."""
    if report.works or not report.failed:
        return [*report.failed, *report.remarks]
    best = plan.most_useful([error for _, error in report.failed])
    return [next((stage, error) for stage, error in report.failed if error is best)]


# Z.ai: 1113 is "no balance", 1309 "no plan"; with a valid key they mean the other base URL.
_ZAI_MIX_UP = frozenset({"1113", "1309"})


def _is_zai_mix_up(e: FailureContext) -> bool:
    return e.code in _ZAI_MIX_UP and bool(base_url.other_zai_url(e.base_url))


def _is(kind: ErrorKind, *codes: str) -> Condition:
    return lambda e: e.error.kind == kind and (not codes or e.code in codes)


def _code(*codes: str) -> Condition:
    return lambda e: e.code in codes


def _status(*statuses: int | None) -> Condition:
    return lambda e: e.error.status in statuses


def _all(*conditions: Condition) -> Condition:
    return lambda e: all(matches(e) for matches in conditions)


def _through_proxy(e: FailureContext) -> bool:
    return e.method == Method.GATEWAY and bool(e.gateway_endpoint)


def _not_reached(e: FailureContext) -> bool:
    """Whether the server at the address that was called is the one that was not reached."""
    proxy = e.error.kind == ErrorKind.GATEWAY and _through_proxy(e)
    return e.error.kind == ErrorKind.NETWORK or proxy


def _is_container_itself(e: FailureContext) -> bool:
    """Nothing listens there. A server that resets a connection accepted it first."""
    refused = e.code in ("connect_refused", "unreachable")
    return refused and e.in_container and base_url.is_local(e.address)


def _needs_key(e: FailureContext) -> bool:
    return not e.has_key and not _through_proxy(e)


def _lists_models(e: FailureContext) -> bool:
    return e.stage == "chat" and "models" in e.succeeded


def _chat_works(e: FailureContext) -> bool:
    return e.stage == "models" and "chat" in e.succeeded


# Failures that a corrected address would not fix.
_NOT_ABOUT_ADDRESS = frozenset(
    {ErrorKind.AUTH, ErrorKind.PERMISSION, ErrorKind.QUOTA, ErrorKind.RATE_LIMIT}
)


def _is_untidy(e: FailureContext) -> bool:
    """Whether the address has more wrong with it than a trailing slash or a capital letter."""
    tidied = base_url.tidy(e.address).url
    return e.error.kind not in _NOT_ABOUT_ADDRESS and tidied.lower() != e.address.lower().rstrip(
        "/"
    )


_CLOSED = ("reset", "cut")
_UNUSABLE = frozenset({"invalid_url", "bad_header", "invalid_header"})

_RULES: tuple[tuple[Condition, Explain], ...] = (
    (_is(ErrorKind.UNREADABLE), response_causes.key_undecryptable),
    (_is_zai_mix_up, response_causes.zai_mix_up),
    (_code("address_refused"), connection_causes.blocked_address),
    (
        lambda e: base_url.without_doubled_version(e.address) != e.address,
        connection_causes.doubled_version,
    ),
    (_code("invalid_address"), connection_causes.invalid_address),
    (_is_untidy, connection_causes.untidy_address),
    (_all(_code(*NO_SUCH_MODEL), _through_proxy), response_causes.gateway_lacks_model),
    (
        _all(_is(ErrorKind.GATEWAY), _status(400, 401, 403), _through_proxy),
        response_causes.gateway_key_refused,
    ),
    (_all(_is(ErrorKind.GATEWAY), _status(401)), response_causes.gateway_token_refused),
    (_code("gateway_loading"), response_causes.gateway_loading),
    (_code("litellm_missing"), response_causes.litellm_missing),
    (_all(_not_reached, _code("dns")), connection_causes.unknown_host),
    (_all(_not_reached, _code("tls_certificate")), connection_causes.invalid_certificate),
    (_all(_not_reached, _code("tls")), connection_causes.tls_failure),
    (_all(_not_reached, _is_container_itself), connection_causes.local_server_down),
    (_all(_is(ErrorKind.GATEWAY), _status(None)), connection_causes.unreachable_gateway),
    (_is(ErrorKind.GATEWAY), response_causes.gateway_failed),
    (_code("html"), connection_causes.web_page),
    (_code("redirect"), connection_causes.redirect),
    (_code(*_UNUSABLE), connection_causes.unusable_address),
    (_code("empty_list"), response_causes.list_empty),
    (_all(_chat_works, _code("json", "catalogue_shape")), response_causes.list_unreadable),
    (_chat_works, response_causes.list_missing),
    (_code(*NO_SUCH_MODEL), response_causes.model_missing),
    (_all(_status(404), _lists_models, _through_proxy), response_causes.gateway_lacks_model),
    (_all(_status(404), _lists_models), response_causes.model_missing),
    (_status(404, 405), connection_causes.wrong_path),
    (_all(_is(ErrorKind.AUTH), _needs_key), response_causes.key_missing),
    (_is(ErrorKind.PERMISSION, MODERATED), response_causes.prompt_moderated),
    (_is(ErrorKind.PERMISSION), response_causes.permission_denied),
    (_is(ErrorKind.AUTH), response_causes.key_refused),
    (_is(ErrorKind.QUOTA), response_causes.quota_used_up),
    (_is(ErrorKind.RATE_LIMIT), response_causes.rate_limit),
    (_is(ErrorKind.OVERLOADED), response_causes.provider_overloaded),
    (
        _all(_is(ErrorKind.NETWORK, "connect_refused"), lambda e: base_url.is_local(e.address)),
        connection_causes.local_server_down,
    ),
    (_is(ErrorKind.NETWORK, *_CLOSED), connection_causes.connection_closed),
    (_is(ErrorKind.NETWORK), connection_causes.unreachable_host),
    (_is(ErrorKind.TIMEOUT, "connect_timeout"), connection_causes.connect_timeout),
    (_is(ErrorKind.TIMEOUT), response_causes.first_token_timeout),
    (_code("truncated"), response_causes.truncated),
    (_code("not_streamed"), response_causes.not_streamed),
    (_code("thinks_aloud"), response_causes.reasoning_in_text),
    (_code("no_usage"), response_causes.usage_missing),
    (_is(ErrorKind.REQUEST), response_causes.request_refused),
    (lambda _: True, response_causes.provider_failed),
)
