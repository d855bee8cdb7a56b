"""`GET /v1/models` and `GET /v1/models/NAME`: the models in use, as JSON.

Anthropic's clients send the version of their format, and get that format.
"""

from api import model_resolver
from api.asgi_response import Reply
from api.errors import ANTHROPIC_ERRORS
from api.model_list import anthropic_models, openai_models
from api.request import ApiRequest
from providers.protocols.openai_chat import encode_json
from providers.router import route_table

PREFIX = "/v1/models/"


async def list_models(request: ApiRequest, reply: Reply) -> None:
    """All models. Raises ApiError."""
    is_anthropic = _choose_format(request, reply)
    request.require_method("GET", "HEAD")
    await request.authenticate()
    snapshot = await route_table.current().ready()
    models = openai_models.list_models(snapshot.all_models)
    answer = anthropic_models.list_models(models["data"]) if is_anthropic else models
    await reply.send_json(200, encode_json(answer), {})


async def get_model(request: ApiRequest, reply: Reply) -> None:
    """One model by any of its names. Raises ApiError (404)."""
    is_anthropic = _choose_format(request, reply)
    request.require_method("GET", "HEAD")
    await request.authenticate()
    name = request.path.removeprefix(PREFIX)
    snapshot = await route_table.current().ready_for(name)
    model = openai_models.find_model(snapshot.all_models, name)
    if model is None:
        raise model_resolver.unknown_model(name, (model.full_name for model in snapshot.all_models))
    answer = anthropic_models.describe_model(model) if is_anthropic else model
    await reply.send_json(200, encode_json(answer), {})


def _choose_format(request: ApiRequest, reply: Reply) -> bool:
    """Whether the caller reads Anthropic's format; its errors are in that format then."""
    is_anthropic = bool(request.pick_headers("anthropic-version"))
    if is_anthropic:
        reply.errors = ANTHROPIC_ERRORS
    return is_anthropic
