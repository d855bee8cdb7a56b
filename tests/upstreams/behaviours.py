"""How the fake provider may behave, by name, as plain values. No I/O.

A name nobody knows answers like `echo`. `slow-<n>-<ms>` is n tokens, one every ms milliseconds.
"""

import re
from dataclasses import dataclass
from typing import Literal

MARKDOWN = """\
# Reading a file, line by line

Python's **file objects** are iterators, so a `for` loop is enough. Café, naïve, 你好 and → survive.

## The code

```python
from pathlib import Path


def longest(path: Path) -> str:
    \"\"\"The longest line of a file & its <length>.\"\"\"
    with path.open(encoding="utf-8") as lines:
        return max(lines, key=len)
```

## How much it costs

| approach | memory | speed |
|---|---:|---|
| `for line in file` | constant | fast |
| `file.read()` | the whole file | faster |

Three things to remember:

- Name the **encoding**.
- Use `with`, so that the file is closed:
  - also when an error is raised,
  - also when you return early.
- See [the documentation](https://docs.python.org/3/library/pathlib.html).

> Simple is better than complex.

1. Measure first.
2. Then *optimise*.
"""
REASONING = "The user wants an answer. Let me think it through, step by step."
TOOL = ("call_fake_0", "get_weather", '{"city": "Reykjavík", "unit": "celsius"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One answer to be given: what is said at which pace, and how it begins and ends."""

    begin: Literal["", "stall-headers", "stall-first", "reset"] = ""
    end: Literal["finish", "stall", "cut", "truncate", "error"] = "finish"
    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool: bool = False
    pause: float = 0.0  # seconds between two pieces
    usage: bool = True
    whole: bool = False  # a JSON body although a stream was asked for
    # A refusal: status, and the error's code and message.
    status: int = 200
    code: str = ""
    message: str = ""
    retry_after: int | None = None
    # Anything else: bytes of some content type.
    raw: str = ""
    content_type: str = ""

    @property
    def spoils_catalogue(self) -> bool:
        """Whether a list of models fails in this way too."""
        return bool(self.begin or self.status != 200 or self.raw or self.end == "cut")


def slow_text(n: int) -> str:
    """What `slow-<n>-<ms>` says in all."""
    return " ".join(f"w{i}" for i in range(n))


def long_text(paragraphs: int = 120) -> str:
    """What `long` says in all: about 45 KB."""
    sentence = "Streams are read as they come, cut wherever the network likes to cut them. "
    return "\n\n".join(f"Paragraph {i}. {(sentence * 5).strip()}" for i in range(paragraphs))


def words(text: str) -> tuple[str, ...]:
    """The text in pieces of a word each; joined again they are the text."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))


def cut(text: str, size: int) -> tuple[str, ...]:
    """The text in pieces of one size, which cut words."""
    return tuple(text[i : i + size] for i in range(0, len(text), size))


def _refusal(status: int, code: str, message: str, retry_after: int | None = None) -> Plan:
    return Plan(status=status, code=code, message=message, retry_after=retry_after)


_THREE = words("One two three")
_BROKE = Plan(
    status=429,
    code="1113",
    message="Insufficient balance or no resource package. Please recharge.",
)
_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please wait</body></html>\n"
)

_PLANS = {
    "markdown": Plan(text=cut(MARKDOWN, 5), pause=0.005),
    "long": Plan(text=words(long_text())),
    "tools": Plan(tool=True),
    "stall-headers": Plan(begin="stall-headers"),
    "stall-first": Plan(begin="stall-first"),
    "stall-mid": Plan(text=_THREE, end="stall"),
    "cut-mid": Plan(text=_THREE, end="cut"),
    "truncated": Plan(text=_THREE, end="truncate"),
    "reset": Plan(begin="reset"),
    "truncated-at-once": Plan(end="truncate"),
    "400": _refusal(400, "invalid_value", "max_tokens is too large."),
    "401": _refusal(401, "invalid_api_key", "Incorrect API key provided."),
    "402": _refusal(402, "insufficient_quota", "Insufficient credits. Add more to go on."),
    "429": _refusal(429, "rate_limit_exceeded", "Rate limit reached for requests.", 2),
    "500": _refusal(500, "server_error", "The server had an error."),
    "503": _refusal(503, "overloaded", "The engine is overloaded, please try again later.", 1),
    "html": Plan(raw=_PAGE, content_type="text/html"),
    "garbage": Plan(raw="data: {this is no JSON\n\n", content_type="text/event-stream"),
    "error-in-200": Plan(end="error"),
    "error-mid": Plan(text=_THREE, end="error"),
    "empty": Plan(),
}
CATALOGUE = (
    "echo",
    "reasoning",
    "slow-50-40",
    "zai",
    "no-usage",
    "whole",
    *_PLANS,
)


def plan(name: str, question: str = "", path: str = "") -> Plan:
    """The plan for a behaviour, a question, and the path it was asked at."""
    if slow := re.fullmatch(r"slow-(\d+)-(\d+)", name):
        return Plan(text=words(slow_text(int(slow[1]))), pause=int(slow[2]) / 1000)
    if name == "zai" and path.startswith("/api/paas/v4"):
        return _BROKE
    if name in _PLANS:
        return _PLANS[name]
    return Plan(
        text=words(question) or ("(nothing was asked)",),
        reasoning=words(REASONING) if name == "reasoning" else (),
        usage=name != "no-usage",
        whole=name == "whole",
    )
