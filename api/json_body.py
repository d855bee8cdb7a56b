"""Decode the JSON object of a request's body, for every door. No I/O."""

import json
from typing import Any, NoReturn

from api.errors import ApiError, bad_request


def decode_object(body: bytes) -> dict[str, Any]:
    """Raises ApiError (400) where the body is no JSON object."""
    try:
        fields = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _invalid_json("it is not UTF-8") from None
    except json.JSONDecodeError as exc:
        raise _invalid_json(f"{exc.msg}, line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise _invalid_json("it is nested too deeply") from None
    except ValueError:
        raise _invalid_json("it contains a number that JSON does not allow") from None
    if not isinstance(fields, dict):
        raise _invalid_json("it must be an object")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity, JSON has neither, and the provider would receive them."""
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _invalid_json(problem: str) -> ApiError:
    return bad_request(f"The request body is not valid JSON: {problem}.", code="invalid_json")
