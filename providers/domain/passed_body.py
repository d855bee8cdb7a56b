"""A request that goes to the provider as it came, but for the model's name. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from providers.domain.frozen import frozen


@frozen
class PassedBody:
    """The body of a request that is passed through, as it came but for the model's name.

    `endpoint`: its path below `/v1`. `parts` are what is around the name; `fields` is the same,
    read, where a file is None.
    """

    endpoint: str
    content_type: str
    parts: tuple[bytes, ...] = field(repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def with_model(self, model: str) -> bytes:
        """The body for a model of this name."""
        is_json = self.content_type.startswith("application/json")
        name = json.dumps(model) if is_json else model
        return name.encode().join(self.parts)
