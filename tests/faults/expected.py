"""What must come of each fault, as a table: the design's table of errors, applied.

`DIRECT` is the provider's own API, and the same is expected over the gateway process. A LiteLLM
proxy does not distinguish a page or garbage from an ordinary failure, so that it is tried twice,
invents a `stop` for what was cut short, and calls every break a 500.
"""

from dataclasses import dataclass, replace

from providers.domain.errors import ErrorKind
from providers.domain.tuning import RULES
from providers.policy.breaker import State

NETWORK, TIMEOUT, PROVIDER = ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.PROVIDER
OVERLOADED, RATE_LIMIT, REQUEST = ErrorKind.OVERLOADED, ErrorKind.RATE_LIMIT, ErrorKind.REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Of one request over one route. `kind` is None where the answer is whole.

    `words` of the canonical text reach the caller; `calls` reach the upstream, each `waits` seconds
    after the one before; `state` and `failures` are those of the breaker that it belongs to.
    """

    kind: ErrorKind | None = None
    first: ErrorKind | None = None  # of the first call, where a later one went better
    words: int = 0
    calls: int = 1
    waits: float = 0.0
    state: State = State.CLOSED
    failures: float = 0.0
    code: str = ""  # of the error, where callers go by it
    lossy: bool = False  # the system drops what was not read before the reset

    @property
    def outcomes(self) -> list[str]:
        last = self.kind or "ok"
        return [str(self.first or last)] * (self.calls - 1) + [str(last)]


_WHOLE = Expected(words=60)
_FAILED_TWICE = Expected(kind=PROVIDER, calls=2, failures=2)
_FAILED_ONCE = Expected(kind=PROVIDER, failures=1)
_LOADED_TWICE = Expected(kind=OVERLOADED, calls=2, failures=1)  # an overload counts half
_LIMITED = Expected(kind=RATE_LIMIT, state=State.OPEN)  # cools down, and counts nothing
_THROTTLED = Expected(kind=RATE_LIMIT, calls=RULES.throttles)
_REFUSED = Expected(kind=REQUEST)
_SET_ASIDE = Expected(state=State.OPEN)

DIRECT = {
    **dict.fromkeys(("sixty", "no-done", "late-100", "no-usage"), _WHOLE),
    # Once more on the same route, at most, and not before the time that was asked for.
    "once-500": replace(_WHOLE, calls=2, first=PROVIDER),
    "once-503": replace(_WHOLE, calls=2, first=OVERLOADED, waits=1),
    "once-529": replace(_WHOLE, calls=2, first=OVERLOADED),
    # The limit's rest ends with a trial, and one good trial does not close a breaker.
    "once-429-seconds": replace(_WHOLE, calls=2, first=RATE_LIMIT, waits=1, state=State.OPEN),
    "once-429-ms": replace(_WHOLE, calls=2, first=RATE_LIMIT, waits=0.3, state=State.OPEN),
    "500": _FAILED_TWICE,
    "503": replace(_LOADED_TWICE, waits=1),
    "503-silent": _LOADED_TWICE,
    "529": _LOADED_TWICE,
    "429-date": replace(_LIMITED, calls=RULES.throttles, waits=0.5),
    **dict.fromkeys(("429-ms", "429-words"), replace(_LIMITED, calls=RULES.throttles, waits=0.3)),
    # No wait is stated: its turn comes again in the queue, and the breaker has nothing to do.
    **dict.fromkeys(("429-nonsense", "429-silent"), _THROTTLED),
    "429-long": _LIMITED,
    # No answer: nothing is repeated that might have been worked on, or will be so an instant later.
    "reset": Expected(kind=NETWORK, failures=1),
    "stall-headers": Expected(kind=TIMEOUT, failures=1),
    "stall-first": Expected(kind=TIMEOUT, failures=1),
    **dict.fromkeys(("html", "garbage", "10-mb"), _FAILED_ONCE),
    **dict.fromkeys(("empty", "nothing", "truncated-at-once"), _FAILED_TWICE),
    **dict.fromkeys(("error-in-200", "error-body"), _FAILED_TWICE),
    # After the first token: never again, never as a whole answer, and nothing said is lost.
    "cut-40": Expected(kind=NETWORK, words=40, failures=1, lossy=True),
    "stall-40": Expected(kind=TIMEOUT, words=40, failures=1),
    **dict.fromkeys(
        ("eof-40", "truncated-40", "garbled-40", "error-40"), replace(_FAILED_ONCE, words=40)
    ),
    # The request's own fault, or the key's.
    **dict.fromkeys(("400", "400-filter", "filtered"), _REFUSED),
    "too-long": replace(_REFUSED, code="context_length_exceeded"),
    "401": Expected(kind=ErrorKind.AUTH, code="invalid_api_key", failures=1),
    "403": Expected(kind=ErrorKind.PERMISSION, failures=1),
    "403-moderated": Expected(kind=ErrorKind.PERMISSION, code="moderated"),
    "402": replace(_SET_ASIDE, kind=ErrorKind.QUOTA),
}
# Nobody has seen anything of an answer that breaks in its middle, or has no finish reason.
WHOLE = DIRECT | {
    "cut-40": Expected(kind=NETWORK, failures=1),
    "stall-40": Expected(kind=TIMEOUT, failures=1),
    "garbled-40": _FAILED_ONCE,
    **dict.fromkeys(("error-40", "eof-40", "truncated-40"), _FAILED_TWICE),
}
PROCESS = DIRECT
PROXY = PROCESS | {
    **dict.fromkeys(("html", "garbage"), _FAILED_TWICE),
    **dict.fromkeys(("eof-40", "truncated-40"), replace(_WHOLE, words=40)),
    "cut-40": replace(_FAILED_ONCE, words=40, lossy=True),
    "401": replace(DIRECT["401"], code=""),
    "403-moderated": replace(DIRECT["403"], code=""),  # it drops the metadata
}
del PROXY["10-mb"]  # it reads all of it, and answers nobody for seconds

_BY_KIND = {
    ErrorKind.AUTH: Expected(kind=ErrorKind.AUTH, failures=1),  # of the model, until it is checked
    ErrorKind.QUOTA: replace(_SET_ASIDE, kind=ErrorKind.QUOTA),
    RATE_LIMIT: _THROTTLED,
    OVERLOADED: _LOADED_TWICE,
    REQUEST: _REFUSED,
}
_ZAI = {
    ErrorKind.AUTH: "1000 1001 1002 1003 1004 1112 1121 1309",
    ErrorKind.QUOTA: "1113 1304 1308 1310",
    RATE_LIMIT: "1302 1303",
    OVERLOADED: "1305",
    REQUEST: "1210 1211 1212 1213 1214 1215 1301",
}
ZAI = {code: _BY_KIND[kind] for kind, codes in _ZAI.items() for code in codes.split()}
ZAI["1211"] = replace(_REFUSED, failures=1)  # no such model: it is the model that fails
