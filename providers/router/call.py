"""The value that a request carries through the router: its model, its caller, its purpose."""

from uuid import UUID

from providers.domain.frozen import frozen
from providers.models import Purpose
from providers.policy.members import MemberList


@frozen
class Call:
    """One request: the model that is called, and on whose behalf.

    With `virtual`, its members answer: the provider and the model are those of its first one.
    `session` names the conversation among the caller's, which stays with one member.
    """

    provider_id: int
    model_id: str
    purpose: Purpose
    request_id: UUID
    user_id: int | None = None
    client_key: int | None = None
    # Further models of the requested alias: provider and model, in order.
    fallbacks: tuple[tuple[int, str], ...] = ()
    virtual: MemberList | None = None
    session: str = ""
