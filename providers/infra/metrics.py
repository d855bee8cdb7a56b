"""The metrics that Prometheus reads: requests, attempts, fallbacks and breaker moves.

Names are OpenTelemetry's for generative AI where there is one
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/), `opencode_web_` else. Labels
come from rows and enums, are capped in number, and never name a person or hold what one typed.

With PROMETHEUS_MULTIPROC_DIR set each process counts in files of its own there, and any of them
can report all; without it each process reports itself alone.
"""

import os
import time
from bisect import bisect_left
from collections import Counter as Counted
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from pathlib import Path
from typing import Protocol, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from providers.domain.types import AttemptRecord, Usage
from providers.policy.breaker import State

MAX_PROVIDERS = 100  # that keep their name, in each process
MAX_MODELS = 300  # likewise, all providers together: one takes about 10 KB of file
MAX_WAITING = 1000  # counts that wait for a flush
OTHER = "other"  # the name of all later ones
TIMED_PURPOSES = frozenset({"chat", "api"})  # purposes; probes and tests are no traffic

# The bounds that OpenTelemetry gives for each of its histograms.
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(4**power for power in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
# And ours.
_OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_GAPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)

_process = [os.getpid()]
os.register_at_fork(after_in_child=lambda: _process.__setitem__(0, os.getpid()))
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # It asks for the process's id at each count, a system call that costs more than the rest.
    values.ValueClass = values.MultiProcessValue(lambda: _process[0])  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
_CALL = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")
_ANSWER = (*_CALL, "gen_ai_response_model")


def _counter(name: str, words: str, *labels: str) -> Counter:
    return Counter(name, words, labels, registry=REGISTRY)


class _Histogram(Histogram):
    """The library's, which can also observe many amounts at once: most fall into few buckets."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """What `observe` does with each of them."""
        self._sum.inc(sum(amounts))
        fallen = Counted(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for number, count in fallen.items():
            self._buckets[number].inc(count)


def _histogram(name: str, words: str, bounds: tuple[float, ...], *labels: str) -> _Histogram:
    return _Histogram(name, words, labels, buckets=bounds, registry=REGISTRY)


def _gauge(name: str, words: str, mode: str, *labels: str) -> Gauge:
    return Gauge(name, words, labels, multiprocess_mode=mode, registry=REGISTRY)  # type: ignore[arg-type]  # a literal of theirs


# Calls of ours to providers.
_CALL_SECONDS = _histogram(
    "gen_ai_client_operation_duration_seconds",
    "How long one call to a provider took; error_type is empty where it went well.",
    _SECONDS,
    *_CALL,
    "error_type",
)
_TOKENS_USED = _histogram(
    "gen_ai_client_token_usage",
    "Tokens of one call, as the provider counted them, else as estimated.",
    _TOKENS,
    *_CALL,
    "gen_ai_token_type",
)
_TOKEN_PARTS = _counter(
    "opencode_web_tokens",
    "Tokens read from a cache or written to one, of the input; and of reasoning, of the output.",
    *("provider", "gen_ai_request_model", "gen_ai_token_type"),
)
_ATTEMPTS = _counter(
    "opencode_web_attempts",
    "Calls over one route each, by what came of them.",
    *("provider", "method", "purpose", "outcome"),
)
_COST = _counter(
    "opencode_web_cost_usd",
    "What calls cost, by the catalogue's prices; of probes too.",
    *("provider", "purpose"),
)
# Requests of others to us.
_REQUEST_SECONDS = _histogram(
    "gen_ai_server_request_duration_seconds",
    "How long one request took, all attempts together.",
    _SECONDS,
    *_ANSWER,
    "error_type",
)
_FIRST_TOKEN = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From a request to the first content of its streamed answer, failed attempts included.",
    _FIRST,
    *_ANSWER,
)
_EACH_TOKEN = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Seconds a token after the first one of a streamed answer.",
    _EACH,
    *_ANSWER,
)
_REQUESTS = _counter(
    "opencode_web_requests", "Requests, by what came of them.", "purpose", "outcome"
)
_LONGEST_GAP = _histogram(
    "opencode_web_longest_chunk_gap_seconds",
    "The longest silence between two chunks of one streamed answer.",
    _GAPS,
    "provider",
)
_OVERHEAD_SECONDS = _histogram(
    "opencode_web_overhead_seconds", "What we added to a request's time.", _OVERHEAD, "purpose"
)
_IN_FLIGHT = _gauge(
    "opencode_web_requests_in_flight", "Requests being answered now.", "livesum", "purpose"
)
# What the router decides, and what it has left.
_FALLBACKS = _counter(
    "opencode_web_fallbacks", "Next routes taken, by the error kind of the one before.", "reason"
)
_BREAKER = _gauge(
    "opencode_web_breaker_state",
    "0 closed, 1 half-open, 2 open; of a provider's gateways, the one that moved last.",
    "mostrecent",
    *("provider", "method"),
)
_MOVES = _counter(
    "opencode_web_breaker_transitions",
    "Breakers that entered a state.",
    *("provider", "method", "state"),
)
_BUDGET = _gauge(
    "opencode_web_retry_budget",
    "Retries that may go out now, of the process that asked last.",
    "livemostrecent",
)
_DROPPED = _counter(
    "opencode_web_attempts_dropped", "Attempts not recorded: the queue to the database was full."
)
_LEVELS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


def count_attempt(provider: str, model: str, purpose: str, record: AttemptRecord) -> None:
    """Count a call over one route. `provider` is a slug, `model` an id of its catalogue."""
    slug, model = _names.of(provider, model)
    _add(_ATTEMPTS, 1, slug, record.method or "", purpose, record.outcome)
    if record.cost:
        _add(_COST, float(record.cost), slug, purpose)
    if purpose not in TIMED_PURPOSES:
        return
    call = ("chat", slug, model)
    _add(_CALL_SECONDS, record.duration_ms / 1000, *call, _error(record.outcome))
    if usage := record.usage:
        _add(_TOKENS_USED, usage.input_tokens, *call, "input")
        _add(_TOKENS_USED, usage.output_tokens, *call, "output")
        for part, tokens in _parts(usage):
            _add(_TOKEN_PARTS, tokens, slug, model, part)


def _parts(usage: Usage) -> Iterator[tuple[str, int]]:
    """The counts within input and output that have a price or a meaning of their own."""
    if usage.cached_tokens:
        yield "cache_read", usage.cached_tokens
    if usage.cache_write_tokens:
        yield "cache_write", usage.cache_write_tokens
    if usage.reasoning_tokens:
        yield "reasoning", usage.reasoning_tokens


_waiting_counts: deque[Callable[[], None]] = deque()
_waiting_amounts: deque[tuple[Counter | _Histogram, tuple[str, ...], float]] = deque()


def _add(metric: Counter | _Histogram, amount: float, *labels: str) -> None:
    """Count an amount at the next `flush`, together with all others of the same series."""
    _waiting_amounts.append((metric, labels, amount))


def count_later(count: Callable[[], None]) -> None:
    """Count something at the next `flush`: in a row with others that costs a fourth of what it
    costs amid a request, whose code has left nothing of this in the processor's caches."""
    _waiting_counts.append(count)
    if len(_waiting_counts) > MAX_WAITING:
        flush()


def flush() -> None:
    """Count all that waits: when results are written, and before a scrape."""
    for count in _drain(_waiting_counts):
        count()
    series: defaultdict[tuple[Counter | _Histogram, tuple[str, ...]], list[float]]
    series = defaultdict(list)
    for metric, labels, amount in _drain(_waiting_amounts):
        series[metric, labels].append(amount)
    for (metric, labels), amounts in series.items():
        if isinstance(metric, _Histogram):
            _child(metric, *labels).observe_all(amounts)
        else:
            _child(metric, *labels).inc(sum(amounts))


def _drain[Item](waiting: deque[Item]) -> Iterator[Item]:
    """Take what waits, item by item: several threads may flush at once."""
    with suppress(IndexError):
        while True:
            yield waiting.popleft()


def count_request(
    purpose: str,
    outcome: str,
    seconds: float,
    *,
    provider: str = "",
    requested: str = "",
    model: str = "",
    overhead: float | None = None,
    first_token: float | None = None,
    output_tokens: int = 0,
    longest_gap: float | None = None,
) -> None:
    """Count a request that ended as `ok`, as `stopped` or with an error kind.

    `requested` is the requested name, where a model of ours has it, and `model` the id of the
    model that ran, at `provider` (a slug). `first_token` and `longest_gap` are a streamed answer's.
    """
    slug, requested, model = _names.of(provider, requested, model)
    answer = ("chat", slug, requested, model)
    _add(_REQUESTS, 1, purpose, outcome)
    _add(_REQUEST_SECONDS, seconds, *answer, _error(outcome))
    if overhead is not None:
        _add(_OVERHEAD_SECONDS, overhead, purpose)
    if longest_gap is not None:
        _add(_LONGEST_GAP, longest_gap, slug)
    if first_token is not None:
        _add(_FIRST_TOKEN, first_token, *answer)
        if output_tokens > 1:
            _add(_EACH_TOKEN, (seconds - first_token) / (output_tokens - 1), *answer)


def track_in_flight(purpose: str) -> AbstractContextManager[object]:
    """While this is entered, one more request is in flight."""
    return _child(_IN_FLIGHT, purpose).track_inprogress()


def count_fallback(reason: str) -> None:
    """Count that the next route was taken because of an error of this kind."""
    _child(_FALLBACKS, reason).inc()


def count_breaker_move(provider: str, method: str, state: State) -> None:
    """Count that this process moved a route's breaker."""
    (slug,) = _names.of(provider)
    _child(_BREAKER, slug, method).set(_LEVELS[state])
    _child(_MOVES, slug, method, state.value).inc()


def set_retry_budget(left: float) -> None:
    """Report what is left of this process's retry budget."""
    _BUDGET.set(left)


def count_dropped(attempts: int) -> None:
    """Count attempts that were not recorded."""
    _DROPPED.inc(attempts)


class ChunkGaps:
    """The gaps between the chunks of one answer. Cheap enough to be called for every chunk."""

    __slots__ = ("_last", "longest")

    def __init__(self) -> None:
        self._last: float | None = None
        self.longest: float | None = None

    def add_chunk(self) -> None:
        """Note that a chunk has arrived."""
        now = time.perf_counter()
        if self._last is not None:
            gap = now - self._last
            if self.longest is None or gap > self.longest:
                self.longest = gap
        self._last = now


class LabelNames:
    """The names that may label a metric: a limited number, then `other` for all that follow."""

    def __init__(self, providers: int = MAX_PROVIDERS, models: int = MAX_MODELS) -> None:
        self._limits = (providers, models)
        self._providers: set[str] = set()
        self._models: set[tuple[str, ...]] = set()

    def of(self, provider: str, *models: str) -> tuple[str, ...]:
        """The provider's and its models' names, as far as they fit."""
        names = (provider, *models)
        if names in self._models:
            return names
        if not self._fits(provider):
            return tuple(OTHER for _ in names)
        if models and len(self._models) >= self._limits[1]:
            return (provider, *(OTHER for _ in models))
        if models:
            self._models.add(names)
        return names

    def _fits(self, provider: str) -> bool:
        if provider not in self._providers and len(self._providers) < self._limits[0]:
            self._providers.add(provider)
        return provider in self._providers


_names = LabelNames()


class _Child(Protocol):
    """The series of these labels; `cache`, which finds it fast, would forget its type."""

    def __call__[Metric: (Counter, Gauge, _Histogram)](
        self, metric: Metric, *labels: str
    ) -> Metric: ...


def _with_labels(metric: Counter, *labels: str) -> Counter:
    return metric.labels(*labels)


_child = cast(_Child, cache(_with_labels))


def _error(outcome: str) -> str:
    return "" if outcome == "ok" else outcome


def render(folder: Path | None) -> bytes:
    """The text of a scrape: of all processes that count in `folder`, else of this one."""
    flush()
    if folder is None:
        return generate_latest(REGISTRY)
    for pid in _dead_processes(folder):
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(everyone)


def _dead_processes(folder: Path) -> Iterator[int]:
    """Processes that were killed, whose requests are not in flight any more."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            yield pid
        except PermissionError:
            continue
