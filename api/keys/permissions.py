"""Which models a client key may use: patterns of names, in which `*` matches anything. No I/O."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from providers.domain.frozen import frozen

if TYPE_CHECKING:
    from providers.router.served_models import ServedModel

# Fields by which an upstream may answer with another model than the one that was checked:
# OpenRouter's `models`, those of a LiteLLM proxy, and `model` in other letters, because some
# upstreams read names without regard to case.
_MODEL_CHOICES = frozenset(
    {
        *("model", "models", "model_list", "model_group_alias"),
        *("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"),
    }
)


def find_model_choice(body: Mapping[str, Any]) -> str:
    """The first field by which an upstream may choose another model than `model`; empty if none.

    LiteLLM reads the fields of `extra_body` like those beside it.
    """
    extra = body.get("extra_body")
    nested = extra if isinstance(extra, dict) else {}
    names = (*(name for name in body if name != "model"), *nested)
    return next((name for name in names if name.lower() in _MODEL_CHOICES), "")


@frozen
class AllowedModels:
    """The patterns of one key; none allow every model.

    A name is allowed where a pattern matches it, or the full names of all the models that it
    stands for: a key for `acme/*` may use `fast` only while each model of that alias is Acme's.
    """

    patterns: tuple[str, ...] = ()

    def permits(self, name: str, models: "Iterable[ServedModel]" = ()) -> bool:
        """Whether the key may request this name, which stands for these models."""
        if not self.patterns or self._matches(name):
            return True
        names = [each for model in models for each in _full_names(model)]
        return bool(names) and all(map(self._matches, names))

    def _matches(self, name: str) -> bool:
        return _compile(self.patterns).fullmatch(name) is not None


def _full_names(model: "ServedModel") -> list[str]:
    """Of a virtual model those of its members: they are what answers."""
    return [each.name for each in model.virtual.members] if model.virtual else [model.full_name]


@lru_cache(maxsize=1024)
def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all patterns. Each `*` gives nothing back, so that no pattern is slow."""
    return re.compile("|".join(map(_translate, patterns)), re.DOTALL)


def _translate(pattern: str) -> str:
    """The expression of one pattern: the first place where a part fits is as good as any later."""
    first, *parts = (re.escape(part) for part in pattern.split("*"))
    if not parts:
        return first
    *middle, last = parts
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + f".*{last}"
