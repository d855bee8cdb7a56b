"""Store answers of `/v1/responses`, and read them for the requests that refer to them.

A caller reaches only what requests of its own user have stored. What cannot be stored is answered
all the same: the answer says `"store": false`.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import django.db
from django.conf import settings
from django.db.models import Q

from api.errors import ApiError
from api.models import StoredResponse
from providers.domain.frozen import frozen
from providers.domain.types import Json
from providers.infra import database, feature_flags
from providers.protocols.responses_requests import References

log = logging.getLogger(__name__)

LARGEST = 8 * 1024 * 1024  # characters of a stored answer with its input
LONGEST_ID = 255  # characters
STORE_SECONDS = 2.0  # that the end of an answer may wait for the database
BATCH_ROWS = 1000


@frozen
class Referenced:
    """What a request refers to: the items of the response it continues, and items by their ids."""

    previous: tuple[Json, ...]
    items: Mapping[str, Json]


async def save(user_id: int, items: Iterable[Json], response: Json) -> bool:
    """Store an answer with its input, where that is allowed. Returns whether it is stored."""
    if not feature_flags.is_enabled("store_responses") or not _can_be_found(response):
        return False
    content = json.dumps({"input": list(items), "response": response})
    if len(content) > LARGEST:
        return False
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await database.run(_write, user_id, response, content)
    except (django.db.Error, TimeoutError) as exc:
        log.warning("response_not_stored problem=%s", type(exc).__name__)
        return False
    return True


async def find(user_id: int, references: References) -> Referenced:
    """Read what a request refers to. Raises ApiError (404) where some of it is not there."""
    contents = await database.run(_read, user_id, references)
    previous: tuple[Json, ...] = ()
    if references.response_id:
        if not (content := contents.get(references.response_id)):
            raise _not_found("Previous response", references.response_id, "previous_response_id")
        previous = (*content["input"], *content["response"]["output"])
    items = {
        item["id"]: item
        for content in contents.values()
        for item in content["response"]["output"]
        if "id" in item
    }
    for item_id in references.item_ids:
        if item_id not in items:
            raise _not_found("Item", item_id, "input")
    return Referenced(previous=previous, items=items)


async def get(user_id: int, response_id: str) -> Json:
    """A stored answer. Raises ApiError (404)."""
    contents = await database.run(_read, user_id, References(response_id=response_id))
    if not (content := contents.get(response_id)):
        raise _not_found("Response", response_id, "response_id")
    response: Json = content["response"]
    return response


async def delete(user_id: int, response_id: str) -> None:
    """Delete a stored answer. Raises ApiError (404)."""
    rows = StoredResponse.objects.filter(user_id=user_id, response_id=response_id)
    if not _is_id(response_id) or not (await database.run(rows.delete))[0]:
        raise _not_found("Response", response_id, "response_id")


def delete_expired(now: datetime) -> int:
    """Delete what is stored for longer than KEEP_RESPONSES, in batches; return how many."""
    deleted = 0
    expired = StoredResponse.objects.filter(
        created_at__lt=now - timedelta(days=settings.KEEP_RESPONSES)
    )
    while batch := list(expired.values_list("pk", flat=True)[:BATCH_ROWS]):
        deleted += StoredResponse.objects.filter(pk__in=batch).delete()[0]
    return deleted


def _is_id(name: object) -> bool:
    """Whether a response or an item may be stored under this id: NUL and half of a surrogate pair
    are in JSON, but not in Postgres."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_ID and name.isprintable()


def _can_be_found(response: Json) -> bool:
    """Whether a response, which a provider may have written, has the ids by which it is read."""
    output = response.get("output")
    if not isinstance(output, list) or not _is_id(response.get("id")):
        return False
    if not all(isinstance(item, dict) for item in output):
        return False
    return all(_is_id(item["id"]) for item in output if item.get("id"))


def _write(user_id: int, response: Json, content: str) -> None:
    values = {
        "content": content,
        "item_ids": [item["id"] for item in response["output"] if item.get("id")],
    }
    StoredResponse.objects.update_or_create(
        user_id=user_id, response_id=response["id"], defaults=values
    )


def _read(user_id: int, references: References) -> dict[str, Any]:
    """The contents by the ids of their responses, in one query. One whose encryption key is gone
    is not there."""
    item_ids = list(filter(_is_id, references.item_ids))
    condition = Q(item_ids__overlap=item_ids)
    if _is_id(references.response_id):
        condition |= Q(response_id=references.response_id)
    rows = StoredResponse.objects.filter(condition, user_id=user_id)
    return {row.response_id: json.loads(row.content) for row in rows if row.content}


def _not_found(what: str, name: str, param: str) -> ApiError:
    code = "previous_response_not_found" if param == "previous_response_id" else "not_found"
    message = f"{what} with id '{name[:100]}' not found."
    return ApiError(404, message, code=code, param=param)
