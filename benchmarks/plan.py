"""What a decision costs with ten thousand providers loaded: the plan, and what is looked up for it.

CPU time of this thread, the best of several rounds: what else the machine does counts little.
"""

import argparse
import asyncio
import os
import random
import resource
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import django
from django.core.management import call_command

from benchmarks.processes import goal, table
from providers.domain.prices import Prices
from providers.domain.request_needs import RequestNeeds
from providers.policy.members import Member, MemberList, MemberState, Strategy, order_members

MOST = 50.0  # microseconds
MEMBERS = 50  # of the virtual model whose order is measured
MOST_FOR_MEMBERS = 100.0  # microseconds


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    ids = _store(options.providers)
    asyncio.run(_measure(ids, options))


async def _measure(ids: list[int], options: argparse.Namespace) -> None:
    from django.utils import timezone

    from providers.policy import plan as planning
    from providers.router import route_table, snapshot

    own = route_table.current()
    began = time.perf_counter()
    current = await own.ready()
    loaded = time.perf_counter() - began
    chosen = random.Random(0).choices(ids, k=options.calls)  # noqa: S311 - not a secret
    candidates = [await own.candidate(pk, "m") for pk in chosen]
    now, fresh = timezone.now(), snapshot.fresh()

    async def plan(number: int) -> object:
        candidate = candidates[number]
        return candidate and planning.plan(candidate.policy, candidate.routes, now, fresh)

    async def make_candidate(number: int) -> object:
        return await own.candidate(chosen[number], "m")

    async def find_named(number: int) -> object:
        return current.find_models(f"bench-{number % len(ids)}/m")

    slowest = {
        f"members.order ({strategy})": await _best(
            _order_members(strategy), options.calls, options.rounds
        )
        for strategy in Strategy
    }
    spent = {
        name: await _best(each, options.calls, options.rounds)
        for name, each in {
            "routing.plan": plan,
            "route_table.candidate": make_candidate,
            "snapshot.named": find_named,
        }.items()
    }
    await route_table.close()
    rows = [(name, f"{each:.1f}") for name, each in (spent | slowest).items()]
    table((f"{len(current.providers)} providers", "microseconds each"), *rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"read in {loaded:.1f} s; the process took {peak:.0f} MB at most")
    goal(
        f"a plan takes {spent['routing.plan']:.1f} microseconds (goal: {MOST:g})",
        spent["routing.plan"] < MOST,
    )
    most = max(slowest.values())
    goal(
        f"an order of {MEMBERS} members takes {most:.1f} microseconds at most"
        f" (goal: {MOST_FOR_MEMBERS:g})",
        most < MOST_FOR_MEMBERS,
    )


def _order_members(strategy: Strategy) -> Callable[[int], Awaitable[object]]:
    """The order of one request to a virtual model of so many members, all of them free."""
    draws = random.Random(0)  # noqa: S311 - not a secret
    members = tuple(
        Member(
            provider_id=number,
            model_id="m",
            name=f"bench-{number}/m",
            weight=number % 5,
            context=200_000,
            tools=True,
            prices=Prices(input=Decimal(number), output=Decimal(1)),
        )
        for number in range(MEMBERS)
    )
    virtual = MemberList(pk=1, name="fast", strategy=strategy, members=members)
    states = [MemberState(ttft_ms=draws.uniform(200, 900), load=0.5) for _ in members]
    needs = RequestNeeds(input_tokens=2000, output_tokens=500, tools=True)

    async def order(number: int) -> object:
        return order_members(virtual, states, needs, draws.random)

    return order


async def _best(call: Callable[[int], Awaitable[Any]], calls: int, rounds: int) -> float:
    """Microseconds of CPU time of one call, without what the loop around it takes."""

    async def nothing(number: int) -> None:
        return None

    async def once(each: Callable[[int], Awaitable[Any]]) -> float:
        began = time.thread_time()
        for number in range(calls):
            await each(number)
        return time.thread_time() - began

    empty = min([await once(nothing) for _ in range(rounds)])
    return (min([await once(call) for _ in range(rounds)]) - empty) / calls * 1e6


def _store(count: int) -> list[int]:
    """So many providers, each with both routes and one model."""
    from providers.models import LanguageModel, Provider, Route

    made = Provider.objects.bulk_create(
        Provider(
            slug=f"bench-{number}",
            name=f"Bench {number}",
            base_url=f"http://127.0.0.1:9/{number}/v1",
            api_key="sk-bench",
        )
        for number in range(count)
    )
    Route.objects.bulk_create(
        Route(provider=provider, method=method, endpoint=endpoint)
        for provider in made
        for method, endpoint in provider.route_keys(())
    )
    LanguageModel.objects.bulk_create(
        LanguageModel(provider=provider, model_id="m", name="m") for provider in made
    )
    return [provider.pk for provider in made]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=5_000, help="each round")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
