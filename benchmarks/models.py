"""What looking through a large catalogue costs: the queries of the Models page, by what is asked.

Each is run several times in this process against the database, and the median counts.
"""

import argparse
import os
import random
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import django
from django.core.management import call_command

from benchmarks.processes import goal, table

if TYPE_CHECKING:
    from providers.models import LanguageModel, Provider

MOST = 50.0  # milliseconds
FAMILIES = ("glm", "gpt", "claude", "llama", "qwen", "mistral", "gemini", "deepseek", "kimi", "phi")
KINDS = ("chat", "instruct", "coder", "vision", "mini", "air", "thinking", "preview", "turbo")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    _store(options.models, options.providers)
    _measure(options.rounds)


def _measure(rounds: int) -> None:
    from providers.catalog import search
    from providers.models import Provider

    provider = Provider.objects.order_by("?").values_list("pk", flat=True)[0]
    queries = {
        "everything": {},
        "one word": {"words": ("glm",)},
        "two words": {"words": ("claude", "vision")},
        "no match": {"words": ("nothing-like-it",)},
        "one provider": {"provider": provider},
        "filters": {"flags": frozenset({"tools"}), "choices": {"price": "1", "state": "on"}},
        "by price": {"order": "price"},
    }
    rows, most = [], 0.0
    for name, fields in queries.items():
        query = search.ModelQuery(user_id=0, **fields)  # type: ignore[arg-type]
        page = _time(lambda query=query: search.page(query, 1), rounds)  # type: ignore[misc]
        facets = _time(lambda query=query: search.facets(query), rounds)  # type: ignore[misc]
        total = search.facets(query).total
        rows.append((name, f"{page:.1f}", f"{facets:.1f}", f"{total}"))
        most = max(most, page, facets)
    table(("query", "page, ms", "counts, ms", "models"), *rows)
    goal(f"the slowest takes {most:.1f} ms (goal: {MOST:g})", most <= MOST)


def _time(work: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return median(took)


def _store(models: int, providers: int) -> None:
    from django.db import connection

    from providers.models import LanguageModel, Provider

    made = Provider.objects.bulk_create(
        Provider(name=f"Bench {n:03}", slug=f"bench-{n}", base_url=f"https://bench-{n}.example/v1")
        for n in range(providers)
    )
    LanguageModel.objects.bulk_create(
        (_model(random.Random(n), made[n % providers], n) for n in range(models)),  # noqa: S311
        batch_size=2000,
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE providers_languagemodel")


def _model(dice: random.Random, provider: "Provider", number: int) -> "LanguageModel":
    from providers.models import LanguageModel

    name = f"{dice.choice(FAMILIES)}-{dice.randint(1, 9)}.{dice.randint(0, 9)}-{dice.choice(KINDS)}"
    return LanguageModel(
        provider=provider,
        model_id=f"{name}-{number}",
        name=name.replace("-", " ").title(),
        context=dice.choice((None, 8192, 32768, 131072, 204800, 1048576)),
        vision=dice.random() < 0.3,
        tools=dice.random() < 0.6,
        reasoning=dice.random() < 0.4,
        input_price=dice.choice((None, 0, "0.25", "1.5", 3, 15)),
        output_price=dice.choice((None, 0, 1, 6, 15, 75)),
        enabled=dice.random() < 0.8,
        sources=dict.fromkeys(("context", "vision", "tools", "input_price"), "models.dev"),
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--providers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
