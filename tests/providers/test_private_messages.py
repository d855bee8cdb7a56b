"""A person's prompt that an upstream repeats in its error: readable by that person alone."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.admin import site
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from health import incidents
from health.models import Incident
from providers.domain.errors import ErrorKind
from providers.domain.types import AttemptRecord, Method
from providers.models import Attempt, Provider, Purpose
from providers.policy import reasons
from providers.router import attempt_writer
from providers.router.results import Result, build_outcome

MakeProvider = Callable[..., Provider]
PROMPT = "my-diagnosis-is-private"
ECHO = f"Invalid message: '{PROMPT} and more'"
CODE = "invalid_prompt"
FAILURES = [kind for kind in ErrorKind if kind != ErrorKind.STOPPED]
pytestmark = pytest.mark.django_db


def fail(provider: Provider, user: User | None, kind: ErrorKind, purpose: Purpose) -> Attempt:
    """One failed attempt over the direct route, written as calls write it; then a fallback."""
    state = provider.routes.get(method="direct").as_state()
    failed = AttemptRecord(
        route_id=state.route_id,
        method=Method.DIRECT,
        endpoint="",
        outcome=kind,
        reason="direct: preferred",
        started_at=timezone.now(),
        duration_ms=5,
        status=400,
        error_code=CODE,
        error_message=ECHO,
    )
    result = Result(
        provider_id=provider.pk,
        model_id="m",
        attempt=failed,
        purpose=purpose,
        request_id=uuid4(),
        user_id=user.pk if user else None,
        outcome=build_outcome(failed, state, "m", purpose),
    )
    attempt_writer.write_results([result])
    return Attempt.objects.get(uuid=result.uuid)


def pages(provider: Provider, attempt: Attempt) -> list[str]:
    """Every page that shows an attempt, or what was made of one."""
    own, admin = f"/providers/{provider.slug}/", "/admin/providers"
    found = ["/providers/", own, f"{own}health/", "/status/", f"/status/{provider.slug}/"]
    found += ["/activity/", f"/activity/{attempt.request_id}/", "/models/", "/gateways/"]
    found += [f"/models/{each.pk}/" for each in provider.language_models.all()]
    found += [
        f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in site._registry
    ]
    found += [f"{admin}/attempt/{attempt.pk}/change/", f"{admin}/route/{attempt.route_id}/change/"]
    found += [f"{admin}/provider/{provider.pk}/change/"]
    return found + [f"/admin/health/incident/{each.pk}/change/" for each in Incident.objects.all()]


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("purpose", [Purpose.CHAT, Purpose.API])
def test_nobody_else_reads_the_message(
    kind: ErrorKind,
    purpose: Purpose,
    owner_client: Client,
    stranger: User,
    make_provider: MakeProvider,
) -> None:
    """Not even an operator: kind, status and code."""
    provider = make_provider()
    attempt = fail(provider, stranger, kind, purpose)
    Provider.objects.update(health_status="failing")
    incidents.reconcile(timezone.now())
    assert Incident.objects.exists()
    walked = pages(provider, attempt)
    for path in walked:
        answer = owner_client.get(path)
        assert answer.status_code == 200, path
        assert PROMPT not in answer.content.decode(), path
    seen = {path: owner_client.get(path).content.decode() for path in walked[1:7]}
    assert CODE in seen[f"/providers/{provider.slug}/"]
    trace = seen[f"/activity/{attempt.request_id}/"]
    assert CODE in trace
    assert "only to the user who sent the request" in trace


def test_who_sent_the_request_reads_it(
    stranger_client: Client, stranger: User, make_provider: MakeProvider
) -> None:
    """In the trace, and among the provider's last attempts."""
    provider = make_provider()
    attempt = fail(provider, stranger, ErrorKind.REQUEST, Purpose.CHAT)
    for path in (f"/activity/{attempt.request_id}/", f"/providers/{provider.slug}/"):
        assert PROMPT in stranger_client.get(path).content.decode(), path


def test_what_a_deleted_person_asked_is_nobodys_to_read(
    owner_client: Client, stranger: User, make_provider: MakeProvider
) -> None:
    provider = make_provider()
    attempt = fail(provider, stranger, ErrorKind.REQUEST, Purpose.API)
    stranger.delete()
    for path in (f"/activity/{attempt.request_id}/", f"/providers/{provider.slug}/"):
        assert PROMPT not in owner_client.get(path).content.decode(), path


def test_messages_of_tests_and_checks_are_shown(
    owner_client: Client, make_provider: MakeProvider
) -> None:
    """Their prompts are the program's own, and the words of the provider help."""
    provider = make_provider()
    attempt = fail(provider, None, ErrorKind.PROVIDER, Purpose.PROBE)
    assert provider.routes.get(method="direct").last_error == ECHO
    for path in (f"/activity/{attempt.request_id}/", f"/providers/{provider.slug}/"):
        assert "Invalid message" in owner_client.get(path).content.decode(), path


def test_reasons_of_older_rows_lose_the_message(
    owner_client: Client, stranger_client: Client, stranger: User, make_provider: MakeProvider
) -> None:
    """A fallback's reason repeated it."""
    provider = make_provider()
    attempt = fail(provider, stranger, ErrorKind.PROVIDER, Purpose.CHAT)
    reason = f"gateway: direct failed ({ECHO})"
    Attempt.objects.create(
        provider=provider,
        request_id=attempt.request_id,
        position=2,
        user=stranger,
        method="gateway",
        model_id="m",
        purpose="chat",
        outcome="ok",
        reason=reason,
    )
    for path in (f"/activity/{attempt.request_id}/", "/activity/"):
        assert PROMPT not in owner_client.get(path).content.decode(), path
    path = f"/activity/{attempt.request_id}/"
    assert "Gateway: direct failed." in owner_client.get(path).content.decode()
    assert PROMPT in stranger_client.get(path).content.decode()


@pytest.mark.parametrize(
    ("outcome", "status", "code", "words"),
    [
        ("network", None, "refused", "network error, refused"),
        ("provider", 500, "", "provider error, HTTP 500"),
        ("request", 400, "1213", "refused request, HTTP 400, 1213"),
        ("request", 400, f"the prompt was {PROMPT}", "refused request, HTTP 400"),
        ("of an older version", None, "", "of an older version"),
    ],
)
def test_a_failure_in_words_for_all(
    outcome: str, status: int | None, code: str, words: str
) -> None:
    """A code that is a sentence is none."""
    assert reasons.failure_words(outcome, status, code) == words
