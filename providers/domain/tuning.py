"""Every number that routing decides by, each with its reason. ROUTING_RULES may change any of them.

Their names are published with that setting, so they do not change. A figure without a source is a
judgement of this program.
"""

from dataclasses import fields

from providers.domain.frozen import frozen


@frozen
class Rules:
    """Seconds, shares of 1, and counts; all greater than 0.

    `rests` are the cooldowns of a breaker, the first ones short.
    """

    __pydantic_config__ = {"extra": "forbid"}  # a misspelt name stops the start

    # The breaker of a route
    failures_to_open: int = 5  # fewer would open on a provider's ordinary hiccups
    connect_failures_to_open: int = 2  # an address that never worked is wrong, not unlucky
    window: float = 30  # a provider that fails every other call never fails five times in a row
    window_least: int = 10  # below that a share says nothing
    window_share: float = 0.5
    rests: tuple[float, ...] = (5, 8, 12, 15, 15)  # most outages are short: quick recovery first
    patient_after: float = 600  # from then on it is a long outage: cooldowns double
    longest_rest: float = 300  # a provider that is back is found within five minutes
    jitter: float = 0.2  # so that many routes, and many instances, do not return at once
    trials_to_close: int = 2  # one good answer may be luck
    trial_lease: float = 70  # longer than the last route's time to first token, which ends a trial
    last_resort_every: float = (
        1  # where all are in a cooldown, one request still goes out in so many seconds
    )

    # One request
    max_attempts: int = 3  # more would keep the caller waiting for what does not work
    longest_wait: float = 3  # a Retry-After beyond it is the caller's to wait for
    repeat_within: float = 0.5  # full jitter before the same route is tried again:
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    cooldown_patience: float = 4  # where all routes are in a cooldown, a request waits so long for
    # a half-open probe: a restart of an upstream lasts seconds, and no caller hangs for long
    short_outage: float = 15  # in its first seconds the last resort's next call is waited for too
    claim_patience: float = 0.5  # for the database to decide who gets the half-open probe

    # The retry budget of a process (Finagle's: https://finagle.github.io/blog/2016/02/08/retry-budgets/)
    budget_share: float = 0.1  # of the requests may be retried, or an outage doubles the load
    budget_floor: float = 5  # retries at hand from the start, for an instance with few requests
    budget_most: float = 100  # what can be saved up in good times

    # Calls at once with one key
    concurrency: int = 256  # where neither provider nor preset says less
    shrink: float = 0.5  # after a 429; the limit then grows back by one for each full round
    pause: float = 0.5  # after a 429 that names no wait; twice as long each time in a row
    longest_pause: float = 8  # of these
    throttles: int = 5  # 429s in a row that a request waits through; then waiting is hopeless
    queue: int = 100  # callers that wait for their turn; further ones are refused
    queue_patience: float = 30  # a caller's own time-out is rarely shorter

    # Learning the method that works
    good_to_return: int = 2  # as many good results in a row as close its breaker
    hold_down: float = 30  # from leaving the preferred method to its return; doubles with each flap
    longest_hold_down: float = 600
    flap_within: float = 600  # seconds of a return; left again within them, it flaps

    # Health
    degraded_share: float = 0.05  # of failed results
    judged_least: int = 20  # results before a share or a percentile says anything
    slow_factor: float = 3  # the 95th percentile of the time to first token, over what is usual
    good_to_recover: int = 5
    recover_after: float = 30  # so that a status does not flicker

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) or not all(n > 0 for n in _numbers(self, each.name)):
                raise ValueError(f"{each.name} must be greater than 0")


def _numbers(rules: Rules, name: str) -> tuple[float, ...]:
    value = getattr(rules, name)
    return value if isinstance(value, tuple) else (value,)


RULES = Rules()
