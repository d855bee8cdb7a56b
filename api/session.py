"""Find the name that a client gives to a conversation, so that its requests are answered alike."""

from collections.abc import Mapping
from typing import Any

from api.request import ApiRequest

# OpenCode and its like send one of the first two, Codex the third.
_HEADERS = ("x-session-affinity", "x-session-id", "session-id")
# OpenAI's fields: https://platform.openai.com/docs/api-reference/chat/create
_FIELDS = ("prompt_cache_key", "user")
MAX_LENGTH = 512


def find_session(request: ApiRequest, options: Mapping[str, Any]) -> str:
    """The first of these names in the request; empty if it has none."""
    headers = request.pick_headers(*_HEADERS)
    named = (*(headers.get(name) for name in _HEADERS), *(options.get(name) for name in _FIELDS))
    return next((each[:MAX_LENGTH] for each in named if each and isinstance(each, str)), "")
