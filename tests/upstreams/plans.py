"""What the fake provider can do in one answer, on command, and the texts it says. No I/O."""

import re
from dataclasses import dataclass
from typing import Literal

RICH = """\
# The quadratic formula

## Where it comes from

### Completing the square

#### A note

For $a \\neq 0$ and \\(b_1, c_1\\) the roots of \\(ax^2 + b_1 x + c_1\\) are[^1]

\\[
x_{1,2} = \\frac{-b_1 \\pm \\sqrt{b_1^2 - 4 a c_1}}{2a} \\\\
- 1 \\le x
\\]

- [x] Divide by *a*
- [ ] Complete the square

It costs $5 or $10. \u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd.

\u05d6\u05d5 \u05e9\u05d5\u05e8\u05d4 \u05d1\u05e2\u05d1\u05e8\u05d9\u05ea.

[^1]: Known since **Babylon**, see <https://example.com/roots>.
"""
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
CODEX_CALL = """\
data: {"id": "chatcmpl-fake", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0,
data: "id": "call_1", "type": "function", "function": {"name": "exec_command",
data: "arguments": "{\\"cmd\\": \\"echo it ran\\"}"}}]}, "finish_reason": "tool_calls"}]}

data: [DONE]

"""
TOOL = ("call_fake_0", "get_weather", '{"city": "Reykjavík", "unit": "celsius"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One answer to be given: what is said at which pace, and how it begins and ends."""

    begin: Literal["", "stall-headers", "stall-first", "reset", "nothing"] = ""
    end: Literal["finish", "no-done", "stall", "cut", "eof", "truncate", "error", "garbled"] = (
        "finish"
    )
    text: tuple[str, ...] = ()
    said: int = 0  # how many pieces of the text come before the end; 0 is all
    reasoning: tuple[str, ...] = ()
    tool: bool = False
    pause: float = 0.0  # seconds between two pieces
    late: float = 0.0  # seconds before the first one
    usage: bool = True
    reason: str = ""  # why it ended, where that is not `stop` or `tool_calls`
    whole: bool = False  # a JSON body although a stream was asked for
    # A refusal: status, and the error's code and message; `bare` is an error without more fields.
    status: int = 200
    code: str = ""
    message: str = ""
    bare: bool = False
    retry_after: float | None = None
    retry_as: Literal["seconds", "date", "ms", "nonsense"] = "seconds"
    refuses: tuple[str, ...] = ()  # fields of the body that it does not take
    least_tokens: int = 0  # a smaller `max_tokens` is refused
    limits: bool = False  # whether it sends its rate limits in headers
    resets_in: float = 3600.0  # seconds, for a message with `{reset}` in it
    page: int = 0  # or a web page of that many bytes
    # Anything else: bytes of some content type.
    raw: str = ""
    content_type: str = ""

    @property
    def spoils_catalogue(self) -> bool:
        """Whether a list of models fails in this way too."""
        return bool(self.begin or self.status != 200 or self.raw or self.end == "cut")


HEAVY = "x" * 100_000
"""One piece of what `heavy-<n>` says."""


def slow_text(n: int) -> str:
    """What `slow-<n>-<ms>` says in all."""
    return " ".join(f"w{i}" for i in range(n))


SIXTY = slow_text(60)
"""The canonical text: what an answer of 60 tokens says in all."""


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
