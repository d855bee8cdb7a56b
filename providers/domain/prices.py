"""The prices of a model's tokens, and the cost of a call. No I/O."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self

from providers.domain.frozen import frozen
from providers.domain.types import Usage


@frozen
class Prices:
    """USD per million tokens; None where unknown. Cached tokens without a price of their own cost
    as much as others."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Self:
        """The prices of a stored model, from its columns."""
        return cls(
            input=model["input_price"],
            output=model["output_price"],
            cache_read=model["cache_read_price"],
            cache_write=model["cache_write_price"],
        )

    def cost(self, usage: Usage) -> Decimal | None:
        """The cost of one call in USD; None where a price is unknown."""
        if self.input is None or self.output is None:
            return None
        read, written = usage.cached_tokens, usage.cache_write_tokens
        cost = self.input * max(0, usage.input_tokens - read - written)
        cost += (self.input if self.cache_read is None else self.cache_read) * read
        cost += (self.input if self.cache_write is None else self.cache_write) * written
        return (cost + self.output * usage.output_tokens) / 1_000_000
