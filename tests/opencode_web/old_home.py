"""Fill an empty database as the first release left it: its tables, and a row of each kind.

Run as a program, with the environment of the home to make: `python -m tests.opencode_web.old_home
BASE_URL`. The rows are written through the models as its migrations describe them.
"""

import os
import sys
from datetime import timedelta
from typing import Any

import django

FIRST_RELEASE = (
    ("api", "0001_initial"),
    ("chat", "0001_initial"),
    ("health", "0002_estimated_cost"),
    ("providers", "0010_parameters_of_a_provider"),
)
OF_DJANGO = ("admin", "auth", "contenttypes", "sessions")
PASSWORD = "a-long-pass-phrase"
CLIENT_KEY = "ocw-0123456789abcdefghijklmnopqrstuvwxyz"
PROVIDER_KEY = "sk-fake-key-0123456789"
QUESTION, ANSWER = "What is the capital of France?", "Paris, since the tenth century."


def make(base_url: str) -> None:
    models = _migrate()
    user = _add_user(models)
    provider = _add_provider(models, user, base_url)
    model = models.get_model("providers", "LanguageModel").objects.create(
        provider=provider, model_id="m", name="Large", context=128_000
    )
    _add_calls(models, provider)
    _add_conversation(models, user, provider, model)


def _migrate() -> Any:
    """The historical models, once their tables are there."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    of_django = [node for node in executor.loader.graph.leaf_nodes() if node[0] in OF_DJANGO]
    targets = [*FIRST_RELEASE, *of_django]
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


def _add_user(models: Any) -> Any:
    import hashlib

    from django.contrib.auth.hashers import make_password

    user = models.get_model("auth", "User").objects.create(
        username="alice", password=make_password(PASSWORD), is_staff=True, is_superuser=True
    )
    models.get_model("api", "ClientKey").objects.create(
        user=user,
        name="laptop",
        prefix=CLIENT_KEY[:8],
        hash=hashlib.sha256(CLIENT_KEY.encode()).hexdigest(),
    )
    models.get_model("providers", "FlagSetting").objects.create(name="chat_probes", enabled=False)
    models.get_model("providers", "AuditEvent").objects.create(
        user=user, username="alice", verb="created", kind="provider", subject="Acme"
    )
    return user


def _add_provider(models: Any, user: Any, base_url: str) -> Any:
    """One with a key, a header and a key of its gateway, all of them sealed."""
    return models.get_model("providers", "Provider").objects.create(
        slug="acme",
        name="Acme",
        base_url=base_url,
        api_key=PROVIDER_KEY,
        gateway_api_key=PROVIDER_KEY,
        extra_headers={"X-Team": "blue"},
        routing_method="direct",
        created_by=user,
        health_status="degraded",
    )


def _add_calls(models: Any, provider: Any) -> None:
    """A route whose breaker opened an hour ago, its attempts, and what health made of them."""
    import uuid

    from django.utils import timezone

    now = timezone.now()
    route = models.get_model("providers", "Route").objects.create(
        provider=provider,
        method="direct",
        state="open",
        consecutive_failures=3.0,
        trips=1,
        opened_at=now - timedelta(hours=1),
        retry_at=now - timedelta(minutes=50),
        last_kind="provider",
        last_outcome="provider",
        last_error="The upstream said: internal error",
        last_outcome_at=now - timedelta(hours=1),
    )
    for outcome, status in (("ok", 200), ("provider", 500)):
        models.get_model("providers", "Attempt").objects.create(
            provider=provider,
            route=route,
            request_id=uuid.uuid4(),
            method="direct",
            model_id="m",
            purpose="api",
            outcome=outcome,
            status=status,
            duration_ms=420,
            input_tokens=10,
            output_tokens=5,
            started_at=now - timedelta(hours=1),
        )
    models.get_model("health", "HealthRollup").objects.create(
        provider=provider,
        method="direct",
        hour=(now - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0),
        good=40,
        bad=2,
    )
    models.get_model("health", "Incident").objects.create(
        provider=provider,
        status="degraded",
        worst="failing",
        cause="provider",
        sentence="It failed.",
    )


def _add_conversation(models: Any, user: Any, provider: Any, model: Any) -> None:
    conversation = models.get_model("chat", "Conversation").objects.create(
        owner=user, title="Capitals", language_model=model
    )
    messages = models.get_model("chat", "Message").objects
    question = messages.create(conversation=conversation, role="user", text=QUESTION)
    messages.create(
        conversation=conversation,
        parent=question,
        role="assistant",
        text=ANSWER,
        html=f"<p>{ANSWER}</p>",
        provider=provider,
        provider_name="Acme",
        language_model=model,
        model_name="Large",
        method="direct",
        finish_reason="stop",
        input_tokens=10,
        output_tokens=5,
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")
    django.setup()
    make(sys.argv[1])
