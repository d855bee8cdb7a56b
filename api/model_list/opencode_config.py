"""`GET /v1/opencode.json`: the configuration that OpenCode fetches at each start with its key."""

import io
from typing import TYPE_CHECKING

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest

from api import model_resolver
from api.asgi_response import Reply
from api.errors import bad_request
from api.request import ROOT, ApiRequest
from providers.domain.types import DiscoveredModel
from providers.protocols.endpoint_kinds import serves
from providers.protocols.opencode_config import ListedModel, write_config
from providers.router import route_table

if TYPE_CHECKING:
    from providers.router.served_models import ServedModel

PATH = "/v1/opencode.json"


async def get_config(request: ApiRequest, reply: Reply) -> None:
    """The chat models that the key may use, from memory. Raises ApiError."""
    request.require_method("GET", "HEAD")
    caller = await request.authenticate()
    snapshot = await route_table.current().ready()
    is_listed = model_resolver.list_filter(caller, snapshot)
    models = [
        _list_model(model, model.alias if is_listed(model, model.alias) else "")
        for model in snapshot.all_models
        if serves(model.kinds, "chat/completions") and is_listed(model, model.full_name)
    ]
    await reply.send_json(200, write_config(_base_url(request), models).encode(), {})


def _base_url(request: ApiRequest) -> str:
    """The address of `/v1` as the caller reached it. Raises ApiError (400)."""
    try:
        return ASGIRequest(dict(request.scope), io.BytesIO()).build_absolute_uri(ROOT)
    except DisallowedHost:
        raise bad_request("This host name is not in ALLOWED_HOSTS or PUBLIC_URL.") from None


def _list_model(model: "ServedModel", alias: str) -> ListedModel:
    prices = model.prices
    facts = DiscoveredModel(
        model_id=model.model_id,
        name=model.name,
        context=model.context,
        output_limit=model.output_limit,
        vision=model.vision,
        tools=model.tools,
        reasoning=model.reasoning,
        json_output=model.json_output,
        takes=model.takes,
        input_price=prices.input,
        output_price=prices.output,
        cache_read_price=prices.cache_read,
        cache_write_price=prices.cache_write,
    )
    return ListedModel(id=model.full_name, alias=alias, facts=facts)
