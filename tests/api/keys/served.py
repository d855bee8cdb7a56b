"""Models as the router serves them, for tests of pure decisions."""

from datetime import UTC, datetime

from providers.domain.prices import Prices
from providers.router.served_models import ServedModel


def model(provider: str, model_id: str, alias: str = "") -> ServedModel:
    return ServedModel(
        provider_id=sum(map(ord, provider)),
        provider_slug=provider,
        provider_name=provider.title(),
        model_id=model_id,
        name=model_id,
        alias=alias,
        context=None,
        output_limit=None,
        first_seen=datetime(2026, 1, 1, tzinfo=UTC),
        prices=Prices(),
    )
