"""Runs the gateway process: LiteLLM's SDK behind a door that only this instance can open."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from granian import Granian
from granian.constants import Interfaces, Loops


class Command(BaseCommand):
    help = "Run the gateway process at GATEWAY_URL."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.GATEWAY_TOKEN:
            raise CommandError(
                "GATEWAY_TOKEN is not set: web and runner need to show it. "
                "Example: GATEWAY_TOKEN=a random text of 32 characters"
            )
        address = urlsplit(settings.GATEWAY_URL)
        Granian(
            "providers.clients.litellm_server:application",
            address=address.hostname or "127.0.0.1",
            port=address.port or 8001,
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            workers=1,
            websockets=False,
            backpressure=1024,
            workers_kill_timeout=2,
            respawn_failed_workers=True,
        ).serve()
