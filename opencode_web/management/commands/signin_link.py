"""Prints the one-time link that creates the owner, and nothing once there is one."""

from typing import Any

from django.core.management.base import BaseCommand

from opencode_web.launcher import setup
from opencode_web.settings import ENV


class Command(BaseCommand):
    help = "Print the one-time sign-in link, while no owner exists."

    def handle(self, *args: Any, **options: Any) -> None:
        if not setup.owner_exists():
            self.stdout.write(setup.link(ENV.public_url))
