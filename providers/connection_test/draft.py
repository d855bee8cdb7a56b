"""The values under test: a provider's form, saved or not."""

from dataclasses import replace

from providers.domain import base_url
from providers.domain.frozen import frozen
from providers.domain.types import Method, Target
from providers.models import connection as connections
from providers.probes import probe
from providers.router.snapshot import Candidate
from providers.vendors import presets


@frozen
class Draft:
    """A provider's form. `stored` is the candidate where the form is unchanged, so that results
    count for its routes; `changes` lists what was corrected in its addresses."""

    connection: connections.Connection
    model_id: str = ""
    stored: Candidate | None = None
    changes: tuple[str, ...] = ()

    def target(self, method: Method, model_id: str = "") -> Target:
        """Keep the provider's first-token timeout; cap the time that an answer takes after it."""
        target = connections.target(self.connection, method, model_id)
        times = target.timeouts
        total = min(times.total, times.first_token + probe.PROBE_SECONDS)
        return replace(target, timeouts=replace(times, total=total))

    @property
    def problem(self) -> str:
        """What is wrong with an address; with a problem in either, no server is called."""
        typed = (self.connection.base_url, self.connection.gateway_endpoint)
        problems = (base_url.tidy(url).problem for url in typed[: 2 if typed[1] else 1])
        return next(filter(None, problems), "")

    @property
    def max_concurrent_chats(self) -> int:
        """The number of chats that this key allows at the same time."""
        return presets.get(self.connection.preset).concurrency or len(Method)
