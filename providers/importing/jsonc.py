"""JSON as people write it by hand: with comments and commas at the end. No I/O.

What is taken out becomes blanks, so that an error still names the line it is on.
"""

import json
import re
from typing import Any

from providers.importing.schema import Malformed

_STRING = r'"(?:\\.|[^"\\\n])*"'
_COMMENT = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])")


def _blank(match: re.Match[str]) -> str:
    return match[1] or re.sub(r"[^\n]", " ", match[0])


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is no number that JSON knows.")


def loads(text: str, what: str = "The file") -> Any:
    """The document. Raises Malformed with line and column, and nothing of the text."""
    plain = _COMMA.sub(_blank, _COMMENT.sub(_blank, text.removeprefix("\ufeff")))
    try:
        return json.loads(plain, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise Malformed(f"{what}, line {exc.lineno}, column {exc.colno}: {exc.msg}.") from None
    except (RecursionError, ValueError):
        raise Malformed(f"{what} is nested too deeply, or has a number that is too long.") from None
