"""The program's own router on the trace: direct is the preferred upstream, a gateway the other one.

It runs on the databases of `./dev run`, with its defaults; where the trace runs faster, so do the
rules and time-outs that are seconds. A wrong key is disabled until edited, so this side's operator
saves the key again as the upstream takes it again.
"""

import asyncio
import os
import time
import uuid
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import django
from django.core.management import call_command

from benchmarks import trace
from benchmarks.failover_client import arguments, replay

if TYPE_CHECKING:
    from providers.models import Provider

SECONDS = (
    *("window", "patient_after", "longest_rest", "trial_lease", "last_resort_every"),
    *("longest_wait", "repeat_within", "pause", "longest_pause", "queue_patience"),
    *("cooldown_patience", "short_outage"),
    *("hold_down", "longest_hold_down", "flap_within", "recover_after"),
)
TIMES = ("TIMEOUT_FIRST_TOKEN", "TIMEOUT_FIRST_TOKEN_LAST", "TIMEOUT_SILENCE", "TIMEOUT_TOTAL")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
    os.environ["GATEWAY_TOKEN"] = ""  # the two upstreams are all the routes there are
    django.setup()
    preferred, other, began, scale, requests = arguments()
    _run_faster(scale)
    call_command("migrate", verbosity=0)
    provider = _provider(preferred, other)
    asyncio.run(_replay(provider, began, scale, requests))


def _run_faster(scale: float) -> None:
    from django.conf import settings

    rules = settings.ROUTING_RULES
    faster = {name: getattr(rules, name) / scale for name in SECONDS}
    cooldowns = tuple(seconds / scale for seconds in rules.rests)
    settings.ROUTING_RULES = replace(rules, rests=cooldowns, **faster)
    settings.TIMEOUT_FIRST_TOKEN = trace.FIRST_TOKEN_SECONDS
    for name in TIMES:
        setattr(settings, name, getattr(settings, name) / scale)


def _provider(preferred: int, other: int) -> "Provider":
    from providers.models import LanguageModel, Provider

    made = Provider.objects.create(
        slug=f"bench-{uuid.uuid4().hex[:8]}",
        name="Bench",
        base_url=f"http://127.0.0.1:{preferred}/v1",
        api_key="sk-bench-0123456789",
        gateway_endpoint=f"http://127.0.0.1:{other}/v1",
        gateway_api_key="sk-bench-other-0123",
        health_check_interval=3600,  # traffic alone shows what is back
    )
    made.ensure_routes()
    LanguageModel.objects.create(provider=made, model_id="m", name="m")
    return made


async def _replay(provider: "Provider", began: float, scale: float, requests: int) -> None:
    from providers.clients import http
    from providers.domain.types import ChatMessage, ChatRequest, Completed, TextDelta
    from providers.models import Purpose
    from providers.router import route_table, router
    from providers.router.call import Call

    request = ChatRequest(messages=(ChatMessage(role="user", content="Say hello, please."),))
    await route_table.current().ready()

    async def send() -> str:
        call = Call(
            provider_id=provider.pk, model_id="m", purpose=Purpose.API, request_id=uuid.uuid4()
        )
        text = ""
        async with aclosing(router.stream(call, request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Completed) and event.error:
                    raise event.error
        return text

    operator = asyncio.create_task(_renew_key(provider, began, scale))
    await replay(send, began, scale, requests)
    operator.cancel()
    await route_table.close()
    await http.close()


async def _renew_key(provider: "Provider", began: float, scale: float) -> None:
    """What saving the provider's form with a new key does, at the end of that phase."""
    from providers.infra import database

    ends = next(ended for _, ended, phase in trace.spans() if phase.preferred == "key")
    await asyncio.sleep(max(0.0, began + ends / scale - time.time()))
    await database.run(provider.forget_learned)


if __name__ == "__main__":
    main()
