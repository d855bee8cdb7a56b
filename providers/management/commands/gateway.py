"""Runs the gateway process: LiteLLM's SDK as a server that only this instance can call."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from granian import Granian
from granian.constants import Interfaces, Loops


class Command(BaseCommand):
    help = "Runs the gateway process at GATEWAY_URL."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.GATEWAY_TOKEN:
            raise CommandError(
                "GATEWAY_TOKEN is not set. Set it to the same random text of 32 characters here"
                " and for web and runner."
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
