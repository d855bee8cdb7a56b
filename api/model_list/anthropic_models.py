"""Describe models in Anthropic's format, from their descriptions in OpenAI's. No I/O.

Source: https://docs.anthropic.com/en/api/models-list.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from providers.domain.types import Json


def list_models(models: Sequence[Json]) -> dict[str, Any]:
    """All models, on one page."""
    rows = [describe_model(model) for model in models]
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {}
    return {"data": rows, "has_more": False, "first_id": None, "last_id": None, **ends}


def describe_model(model: Json) -> dict[str, Any]:
    """A model under one of its names. Limits are left out where they are unknown."""
    limits = {
        "max_input_tokens": model.get("context_length"),
        "max_tokens": model.get("max_output_tokens"),
    }
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model["name"],
        "created_at": datetime.fromtimestamp(model["created"], UTC).isoformat(),
        "lifecycle": "active",
        **{name: limit for name, limit in limits.items() if limit},
    }
