"""Whole answers through `/v1`: requests a core beside a bare proxy and LiteLLM's; what it adds.

At 32 concurrent what counts is CPU; alone, one after the other, what a request waits longer.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

from benchmarks import site
from benchmarks.contenders import Contender, field_of, in_turn
from benchmarks.processes import Cost, free_port, goal, table
from tests.upstreams import litellm_proxy

PACE = "0/60"
TOGETHER = 32
HALF, TWENTY = 0.5, 20.0
ADDED = {"p50": 1.0, "p99": 3.0}  # milliseconds


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    with field_of(PACE) as field:
        base = f"{field.upstream.base}/{PACE}/v1"
        with _litellm(base) if options.litellm else nullcontext() as proxy:
            rivals = [field.bare, field.site, *([proxy] if proxy else [])]
            for each in (field.upstream, *rivals):
                each.cost(PACE, TOGETHER, TOGETHER)  # to warm up
            _alone([field.upstream, field.bare, field.site], options)
            _together(rivals, options)


def _alone(contenders: list[Contender], options: argparse.Namespace) -> None:
    costs = in_turn(contenders, options.rounds, lambda each: each.cost(PACE, options.alone, 1))
    waits = {
        name: {
            "p50": median(each.taken.p50 for each in rounds),
            "p99": median(each.taken.p99 for each in rounds),
        }
        for name, rounds in costs.items()
    }
    rows = [(name, f"{wait['p50']:.2f}", f"{wait['p99']:.2f}") for name, wait in waits.items()]
    table(("one after the other", "p50 ms", "p99 ms"), *rows)
    for quantile, most in ADDED.items():
        added = waits["/v1"][quantile] - waits["upstream"][quantile]
        goal(f"/v1 adds {added:.2f} ms to the {quantile} (goal: {most:g})", added <= most)
    print()


def _together(contenders: list[Contender], options: argparse.Namespace) -> None:
    def cost(each: Contender) -> Cost:
        share = 0.1 if each.name == LITELLM else 1  # it takes its time
        return each.cost(PACE, round(options.requests * share), TOGETHER)

    costs = in_turn(contenders, options.rounds, cost)
    a_core = {name: median(each.rate_a_core for each in rounds) for name, rounds in costs.items()}
    rows = [
        (
            name,
            f"{median(each.rate for each in rounds):.0f}",
            f"{a_core[name]:.0f}",
            f"{1000 / a_core[name]:.3f}",
            f"{median(each.taken.p99 for each in rounds):.1f}",
        )
        for name, rounds in costs.items()
    ]
    table((f"{TOGETHER} at once", "requests/s", "a core", "CPU ms each", "p99 ms"), *rows)
    for name, least in (("bare proxy", HALF), (LITELLM, TWENTY)):
        if name in a_core:
            times = a_core["/v1"] / a_core[name]
            words = f"/v1 has {times:.2f} times the requests a core of the {name} (goal: {least:g})"
            goal(words, times >= least)


LITELLM = "LiteLLM proxy"


@contextmanager
def _litellm(base_url: str) -> Iterator[Contender]:
    """A LiteLLM proxy with one worker, which knows the same model."""
    models = {str(site.body(PACE)["model"]): (base_url, "sk-bench")}
    with tempfile.TemporaryDirectory() as folder:
        proxy = litellm_proxy.Proxy(port=free_port(), folder=Path(folder), models=models)
        with proxy:
            yield Contender(
                name=LITELLM,
                base=proxy.url,
                pid=proxy.process.pid if proxy.process else 0,
                paced=False,
                headers={"Authorization": f"Bearer {proxy.key}"},
            )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="at 32 at once, each round")
    parser.add_argument("--alone", type=int, default=1000, help="one after the other, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-litellm", dest="litellm", action="store_false")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
