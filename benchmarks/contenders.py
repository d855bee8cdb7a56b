"""Those compared: the upstream itself, the bare proxy, the site. Each gets the same load."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import site
from benchmarks.load import Load
from benchmarks.processes import Cost, Server, bare, put, upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One of them; the process whose CPU counts is `pid`, with its children."""

    name: str
    base: str
    pid: int
    paced: bool = True  # its address holds the upstream's pace
    headers: dict[str, str] = field(default_factory=dict)

    def cost(
        self, pace: str, requests: int, concurrency: int, *, stream: bool = False, ramp: float = 0
    ) -> Cost:
        """What so many answers at that pace cost it."""
        load = Load(
            url=self.base + (f"/{pace}" if self.paced else "") + site.PATH,
            body=site.body(pace, stream=stream),
            headers=self.headers,
            concurrency=concurrency,
            requests=max(requests, concurrency),
            ramp=ramp,
        )
        return put(load, self.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Everybody, ready to be asked."""

    upstream: Contender
    bare: Contender
    site: Contender
    web: Server


@contextmanager
def field_of(*paces: str) -> Iterator[Field]:
    """Starts them, with a provider in the site for each of the paces."""
    with upstream() as source, bare(source.url) as peer:
        headers = site.prepare(source.url, paces)
        with site.web() as web:
            yield Field(
                upstream=Contender(name="upstream", base=source.url, pid=source.pid),
                bare=Contender(name="bare proxy", base=peer.url, pid=peer.pid),
                site=Contender(name="/v1", base=web.url, pid=web.pid, paced=False, headers=headers),
                web=web,
            )


def in_turn(
    contenders: list[Contender], rounds: int, cost: Callable[[Contender], Cost]
) -> dict[str, list[Cost]]:
    """Each several times, by turns, so that what else the machine does meets all of them."""
    costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            costs[contender.name].append(cost(contender))
    return costs
