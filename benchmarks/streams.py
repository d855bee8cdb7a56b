"""Streamed answers through `/v1`: the CPU of 60 chunks beside a bare proxy, and many at once.

What a reader feels of many at once is the added gap: how much later than the upstream wrote it a
chunk came after the one before it. The upstream's stamps in the chunks show it.
"""

import argparse
from statistics import median

from benchmarks.contenders import Contender, Field, field_of, in_turn
from benchmarks.processes import Cost, goal, table

TOGETHER = 32
PACED, BURST = "5/60", "0/60"  # milliseconds between chunks / chunks
MOST_CPU = 2.5  # times the bare proxy's
MOST_GAP, MOST_MEMORY = 50.0, 400.0  # milliseconds, megabytes


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    many = [f"{milliseconds}/{options.chunks}" for milliseconds in options.apart]
    with field_of(PACED, BURST, *many) as field:
        for pace in (PACED, BURST):
            _sixty(field, pace, options)
        for pace in many:
            _many(field, pace, options)


def _sixty(field: Field, pace: str, options: argparse.Namespace) -> None:
    def cost(each: Contender) -> Cost:
        return each.cost(pace, options.requests, TOGETHER, stream=True)

    rivals = [field.bare, field.site]
    for each in rivals:
        each.cost(pace, TOGETHER, TOGETHER, stream=True)  # to warm up
    costs = in_turn(rivals, options.rounds, cost)
    spent = {name: median(each.milliseconds for each in rounds) for name, rounds in costs.items()}
    rows = [
        (name, f"{median(each.rate for each in rounds):.0f}", f"{spent[name]:.2f}")
        for name, rounds in costs.items()
    ]
    milliseconds, _, chunks = pace.partition("/")
    how = f"{milliseconds} ms apart" if int(milliseconds) else "at once"
    table((f"{chunks} chunks {how}, {TOGETHER} streams", "streams/s", "CPU ms each"), *rows)
    times = spent["/v1"] / spent["bare proxy"]
    goal(f"/v1 costs {times:.2f} times the bare proxy (goal: {MOST_CPU:g})", times <= MOST_CPU)
    print()


def _many(field: Field, pace: str, options: argparse.Namespace) -> None:
    """All streams at once, begun over a chunk's time times fifty: readers do not come as one."""
    milliseconds = int(pace.partition("/")[0])
    ramp = milliseconds * 50 / 1000
    rows, gaps = [], {}
    for each in (field.upstream, field.bare, field.site):
        cost = each.cost(pace, options.streams, options.streams, stream=True, ramp=ramp)
        gaps[each.name] = cost.taken.gap_p99
        rows.append((each.name, *_row(cost)))
    rate = 1000 / milliseconds
    head = f"{options.streams} streams of {rate:g} chunks/s"
    table((head, "events/s", "added gap p50", "p99 ms", "CPU share"), *rows)
    goal(
        f"/v1 adds {gaps['/v1']:.1f} ms to a gap at p99 (goal: {MOST_GAP:g})",
        gaps["/v1"] < MOST_GAP,
    )
    memory = field.web.memory
    goal(f"its process takes {memory:.0f} MB (goal: {MOST_MEMORY:g})", memory < MOST_MEMORY)
    print()


def _row(cost: Cost) -> tuple[str, ...]:
    taken = cost.taken
    return (
        f"{taken.events / taken.seconds:.0f}",
        f"{taken.gap_p50:.1f}",
        f"{taken.gap_p99:.1f}",
        f"{100 * cost.cpu / taken.seconds:.0f} %",
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="streams of 60, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=1000, help="at once")
    parser.add_argument("--chunks", type=int, default=100, help="of each of these")
    parser.add_argument(
        "--apart",
        type=int,
        nargs="*",
        default=[20, 50],
        help="milliseconds between the chunks of these; one run each",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
