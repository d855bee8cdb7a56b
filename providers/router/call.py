"""Who requests what, and on whose behalf: the value that a request carries through the router."""

from uuid import UUID

from providers.domain.frozen import frozen
from providers.models import Purpose


@frozen
class Call:
    """Who is asked for what, and on whose behalf."""

    provider_id: int
    model_id: str
    purpose: Purpose
    request_id: UUID
    user_id: int | None = None
    client_key: int | None = None
    # Further models of the alias that was asked for: provider and model, in order.
    fallbacks: tuple[tuple[int, str], ...] = ()
