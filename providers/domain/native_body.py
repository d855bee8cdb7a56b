"""A request as it came, in a format that some providers take as it is."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from providers.domain.frozen import frozen


class BodyFormat(StrEnum):
    """A format beside chat completions; its value is the end of its address."""

    MESSAGES = "messages"  # Anthropic's
    RESPONSES = "responses"  # OpenAI's


@frozen
class NativeBody:
    """A request as it came: a direct route to a provider of its format sends it so.

    `headers` are the caller's that belong to the format. `translation_error`: why the request
    cannot be translated for other routes; empty where it can.
    """

    format: BodyFormat
    fields: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    translation_error: str = ""
