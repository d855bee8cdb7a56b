"""The vendors' presets as data: the rows of presets.toml, read once and unchanged."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

_DATA = tomllib.loads(
    resources.files("providers.vendors").joinpath("presets.toml").read_text("utf-8")
)

PRESETS: tuple[Mapping[str, Any], ...] = tuple(_DATA["preset"])
KEEPS_REASONING: frozenset[str] = frozenset(_DATA["keeps_reasoning"])
LEFT_OUT: frozenset[str] = frozenset(_DATA["left_out"])
