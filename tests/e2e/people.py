"""What a person does in the browser, and the providers they find there."""

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect

from chat.models import Message
from health.models import HealthRollup, Incident
from providers.models import LanguageModel, Provider
from tests import fakes

# A page that waited for a provider that hangs would take the 10 s in which a first token is due.
QUICK_MS = 8000


def connect(
    direct: str,
    gateway: str | None = None,
    *,
    models: tuple[str, ...] = ("echo",),
    **fields: object,
) -> Provider:
    """A stored provider whose routes lead to these addresses, with the fake's key."""
    values = {"name": "Acme", "slug": "acme", "api_key": fakes.KEY, "gateway_api_key": fakes.KEY}
    provider = Provider.objects.create(
        base_url=direct,
        gateway_endpoint=gateway,
        **(values | fields),
    )
    provider.ensure_routes()
    for model_id in models:
        LanguageModel.objects.create(provider=provider, model_id=model_id, name=model_id)
    return provider


def ask(page: Page, text: str, model: str = "") -> None:
    """Writes a message and sends it, from a new conversation or the one that is open."""
    if "/chat/" not in page.url:
        page.goto("/chat/new/")
    if model:
        pick(page, model)
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")
    page.wait_for_selector("[data-role=assistant]")


def pick(page: Page, model: str) -> None:
    """Picks a model: from the list, or from the searched menu of a long one."""
    if page.locator("select#composer-model").is_visible():
        page.select_option("#composer-model", label=model)
        return
    page.locator("button.composer-model").click()
    page.fill(".menu-search", model)
    page.locator(".menu-item:visible").first.click()


def answer(page: Page) -> str:
    """The last answer's text as the reader sees it."""
    return page.locator("[data-role=assistant] .message-body").last.inner_text()


def wait_status(page: Page, status: str, seconds: float = 60) -> None:
    """Until the last answer on the page has this status."""
    reply = page.locator("[data-role=assistant]").last
    expect(reply).to_have_attribute("data-status", status, timeout=seconds * 1000)


def reply() -> Message:
    """The newest answer, as stored."""
    return Message.objects.filter(role="assistant").latest("pk")


def remember() -> None:
    """A past for every provider: good hours, bad ones and none; incidents, one of them open."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for provider in Provider.objects.all():
        HealthRollup.objects.bulk_create(
            HealthRollup(
                provider=provider,
                method="direct",
                hour=now - timedelta(hours=hours),
                good=0 if hours % 41 == 3 else 60,
                bad={3: 40, 7: 9, 11: 2}.get(hours % 41, 0),
            )
            for hours in range(80 * 24)
            if hours % 13 or hours > 24
        )
        shared = {"provider": provider, "cause": "network", "rescued": 37}
        shared |= {
            "sentence": "The connection was refused.",
            "affected_models": ["echo", "glm-4.7"],
        }
        for hours in (0, 3, 90):
            opened = now - timedelta(hours=hours, minutes=20)
            Incident.objects.create(
                **shared,
                worst="failing" if hours else "degraded",
                status="degraded",
                opened_at=opened,
                closed_at=opened + timedelta(minutes=12) if hours else None,
            )
