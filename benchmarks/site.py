"""The site under test: its web process on the run's databases, a provider, a client key.

Without more it is as `./dev up` runs it: the same server, flags and settings, one process.
"""

import os
import secrets
from collections.abc import Sequence

import django
from django.core.management import call_command

from benchmarks.processes import Server, granian

PATH = "/v1/chat/completions"


def prepare(upstream_url: str, paces: Sequence[str]) -> dict[str, str]:
    """A migrated database with a provider of each pace of the upstream; the headers to come in."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    for pace in paces:
        _provider(slug(pace), f"{upstream_url}/{pace}/v1")
    return {"Authorization": f"Bearer {_key()}"}


def slug(pace: str) -> str:
    """The provider of a pace, `<milliseconds>/<chunks>`; its one model is `m`."""
    return f"bench-{pace.replace('/', '-')}"


def body(pace: str, *, stream: bool = False) -> dict[str, object]:
    """A request to the site. The upstream and the bare proxy take it as well."""
    messages = [{"role": "user", "content": "Say hello, please."}]
    return {"model": f"{slug(pace)}/m", "messages": messages, "stream": stream}


def web() -> Server:
    return Server("the site", *granian("opencode_web.asgi:application"))


def _provider(name: str, base_url: str) -> None:
    from providers.models import LanguageModel, Provider

    made, _ = Provider.objects.update_or_create(
        slug=name,
        defaults={
            "name": name,
            "base_url": base_url,
            "api_key": "sk-bench-0123456789",
            "routing_method": "direct",
            "concurrency": 5000,  # else it queues: what is asked is what a process carries
        },
    )
    made.ensure_routes()
    LanguageModel.objects.get_or_create(provider=made, model_id="m", defaults={"name": "m"})


def _key() -> str:
    from django.contrib.auth.models import User

    from api.keys.lifecycle import issue_key

    user = User.objects.create_user(f"bench-{secrets.token_hex(4)}")
    return issue_key(user, "benchmark")[1]
