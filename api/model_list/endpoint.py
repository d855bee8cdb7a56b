"""`GET /v1/models` and `GET /v1/models/NAME`: the models in use, as JSON."""

from api import model_resolver
from api.asgi_response import Reply
from api.model_list import openai_models
from api.request import ApiRequest
from providers.protocols.openai_chat import encode_json
from providers.router import route_table

PREFIX = "/v1/models/"


async def list_models(request: ApiRequest, reply: Reply) -> None:
    """All models. Raises ApiError."""
    request.require_method("GET", "HEAD")
    await request.authenticate()
    snapshot = await route_table.current().ready()
    await reply.send_json(200, encode_json(openai_models.list_models(snapshot.all_models)), {})


async def get_model(request: ApiRequest, reply: Reply) -> None:
    """One model by any of its names. Raises ApiError (404)."""
    request.require_method("GET", "HEAD")
    await request.authenticate()
    name = request.path.removeprefix(PREFIX)
    snapshot = await route_table.current().ready_for(name)
    model = openai_models.find_model(snapshot.all_models, name)
    if model is None:
        raise model_resolver.unknown_model(name, (model.full_name for model in snapshot.all_models))
    await reply.send_json(200, encode_json(model), {})
