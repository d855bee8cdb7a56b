"""Find the concurrency limiter of a key: every call with one key to one address shares it.

A vendor counts calls by key, not by provider, so two providers with the same key and address have
one limiter. Its limit follows the provider's settings: a change applies to the next call.
"""

from providers.domain.tuning import Rules
from providers.domain.types import Target
from providers.router.limits import ConcurrencyLimiter
from providers.router.snapshot import Candidate
from providers.vendors import presets


class Limiters:
    """The limiters of one event loop, by address and key."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._limiters: dict[tuple[str, str], ConcurrencyLimiter] = {}

    def find(self, candidate: Candidate, target: Target) -> ConcurrencyLimiter:
        """The limiter of the key that the upstream of this target sees."""
        upstream = target.upstream or target
        key = (upstream.base_url, upstream.api_key)
        limit = self._limit(candidate)
        if key not in self._limiters:
            self._limiters[key] = ConcurrencyLimiter(limit, self._rules)
        self._limiters[key].set_limit(limit)
        return self._limiters[key]

    def _limit(self, candidate: Candidate) -> int:
        """The provider's own setting, its preset's, or the default."""
        preset = presets.get(candidate.connection.preset)
        return candidate.concurrency or preset.concurrency or self._rules.concurrency
