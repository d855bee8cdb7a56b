"""What an error body says, in any of the shapes that vendors and web frameworks send: its code, its
message, and the field of the request that it is about.

    {"error": {"message", "code", "type", "param"}}        OpenAI, Anthropic, Z.ai, Google
    {"error": {..., "metadata": {"raw", "provider_name"}}}  OpenRouter: another error as text
    {"error": "text", "message" or "error_description"}     Ollama, NestJS, OAuth
    {"detail": "text" or [{"loc", "msg"}]}                  FastAPI
    {"errors": [...] or {"field": [...]}}                   Cloudflare, Rails, GraphQL
    {"object": "error", "message", "param", "code"}         vLLM, Mistral
    {"error_msg", "error_code"}, {"base_resp": {...}}       Baidu, MiniMax
    {"title", "detail"}                                     RFC 9457

The names of Python's exception classes are left out: they help nobody. No I/O.
"""

import ast
import builtins
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from providers.domain.errors import MODERATED
from providers.domain.frozen import frozen

_MESSAGES = (
    *("message", "msg", "error_message", "error_msg", "errorMessage", "errmsg", "err_msg"),
    *("status_msg", "error_description", "detail", "Message", "reason", "title", "description"),
    *("error", "errors"),
)
_CODES = ("code", "error_code", "errorCode", "errcode", "status_code", "Code")
_TYPES = ("type", "error_type", "status", "__type")
_PARAMS = ("param", "loc", "field", "parameter")
_NESTED = ("error", "errors", "detail", "base_resp", "fault", "message", "Error")
_DEEPEST = 6  # objects within one another
_MOST_ITEMS = 5  # of a list of errors: the first ones say what is wrong
_LONGEST_LITERAL = 64 * 1024  # characters that are read as JSON or as Python within a message


@frozen
class ErrorBody:
    """What an error says; empty where it does not. `per_model`: its limit is that of one model."""

    code: str = ""
    message: str = ""
    param: str = ""
    per_model: bool = False


def read_error(body: object, depth: int = 0) -> ErrorBody:
    """The code, message and parameter of an error body. Any JSON value may be given."""
    if depth > _DEEPEST:
        return ErrorBody()
    if isinstance(body, str):
        return _read_text(body, depth)
    if isinstance(body, list):
        return _read_list(body, depth)
    if isinstance(body, Mapping):
        return _read_object(body, depth)
    return ErrorBody()


def is_error(body: Mapping[str, Any]) -> bool:
    """Whether a body that came with a good status is an error all the same."""
    if body.get("error"):
        return True
    if "choices" in body or "data" in body:
        return False
    result = body.get("base_resp")
    return (
        any(body.get(name) for name in ("detail", "errors", "error_msg", "error_message", "errmsg"))
        or "error" in (body.get("object"), body.get("type"))
        or (body.get("success") is False and bool(_scalar(body, _MESSAGES)))
        or (isinstance(result, Mapping) and bool(result.get("status_code")))
    )


def _read_object(body: Mapping[str, Any], depth: int) -> ErrorBody:
    inner = _read_nested(body, depth)
    message = inner.message or _scalar(body, _MESSAGES) or _by_field(body)
    param = inner.param or _param(body)
    if "loc" in body and param and message:  # FastAPI's `type` names a check, not an error
        return ErrorBody(message=f"{param}: {message}", param=param)
    code = _code(body, message)
    return ErrorBody(
        code=code if _is_specific(code) or not inner.code else inner.code,
        message=message,
        param=param,
        per_model=inner.per_model or _limits_model(body, code),
    )


def _limits_model(body: Mapping[str, Any], code: str) -> bool:
    """Whether a limit is one model's. OpenAI and Groq count tokens and requests of each model, and
    say so as the type; Google names the model in the violated quota.

    https://platform.openai.com/docs/guides/rate-limits
    https://ai.google.dev/gemini-api/docs/rate-limits
    """
    if code == "rate_limit_exceeded" and body.get("type") in ("tokens", "requests"):
        return True
    violations = [
        v for each in _objects(body.get("details")) for v in _objects(each.get("violations"))
    ]
    return any(
        quota.get("model") for v in violations for quota in _objects([v.get("quotaDimensions")])
    )


def _objects(items: object) -> list[Mapping[str, Any]]:
    return [each for each in items if isinstance(each, Mapping)] if isinstance(items, list) else []


def _read_nested(body: Mapping[str, Any], depth: int) -> ErrorBody:
    """What an object says in objects and lists within it: the first that has a message."""
    errors = [_read_passed_on(body.get("metadata"), depth)]
    inner = (body.get(name) for name in _NESTED)
    errors += [read_error(each, depth + 1) for each in inner if _is_nested(each)]
    best = next((each for each in errors if each.message), ErrorBody())
    code = best.code or _first(each.code for each in errors)
    return ErrorBody(code=code, message=best.message, param=best.param, per_model=best.per_model)


def _read_passed_on(metadata: object, depth: int) -> ErrorBody:
    """The error of a vendor behind OpenRouter, whose own message says only that there was one; of
    its moderation nothing but the code, which its message lacks."""
    if not isinstance(metadata, Mapping):
        return ErrorBody()
    if metadata.get("flagged_input") or metadata.get("reasons"):
        return ErrorBody(code=MODERATED)
    if not metadata.get("raw"):
        return ErrorBody()
    error = read_error(metadata["raw"], depth + 1)
    vendor = metadata.get("provider_name")
    if error.message and vendor and isinstance(vendor, str):
        return ErrorBody(code=error.code, message=f"{vendor}: {error.message}", param=error.param)
    return error


def _is_nested(each: object) -> bool:
    return isinstance(each, Mapping | list) or (isinstance(each, str) and _is_literal(each))


def _read_list(items: list[Any], depth: int) -> ErrorBody:
    errors = [read_error(item, depth + 1) for item in items[:_MOST_ITEMS]]
    messages = list(dict.fromkeys(each.message for each in errors if each.message))
    return ErrorBody(
        code=_first(each.code for each in errors),
        message="; ".join(messages),
        param=_first(each.param for each in errors),
    )


def _by_field(body: Mapping[str, Any]) -> str:
    """`{"errors": {"name": ["is too long"]}}` as `name: is too long`."""
    fields = body.get("errors")
    if not isinstance(fields, Mapping):
        return ""
    items = (
        (name, texts if isinstance(texts, list) else [texts]) for name, texts in fields.items()
    )
    messages = [
        f"{name}: {text}" for name, texts in items for text in texts if isinstance(text, str)
    ]
    return "; ".join(messages[:_MOST_ITEMS])


# Texts


def _read_text(text: str, depth: int) -> ErrorBody:
    """A message, which may hold another error as JSON, or as Python prints it."""
    if (nested := _literal(text)) is not None:
        error = read_error(nested, depth + 1)
        if error.message or error.code or not nested:
            return error
    return ErrorBody(message=_without_class(text))


# OpenAI's package prints an error so, and gateways pass that on as their message.
_PRINTED = re.compile(r"^Error code: \d{3} - (?=[{\[])")


def _is_literal(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") or bool(_PRINTED.match(text))


def _literal(text: str) -> object:
    printed = _PRINTED.match(text)
    value = text[printed.end() :] if printed else text
    if not _is_literal(text) or len(value) > _LONGEST_LITERAL:
        return None
    try:
        return ast.literal_eval(value) if printed else json.loads(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


# `litellm.X: ` stays: it says whose error it is, and `gateway` takes it away.
_CLASS = re.compile(
    r"^(?!litellm\.)(?:(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?::| -|$)\s*)+"
)


def _without_class(text: str) -> str:
    return _CLASS.sub("", text.strip(), count=1)


# Fields


def _scalar(body: Mapping[str, Any], names: Iterable[str]) -> str:
    texts = (body.get(name) for name in names)
    return _first(_without_class(each) for each in texts if isinstance(each, str))


def _code(body: Mapping[str, Any], message: str) -> str:
    """The code; a type where the code only repeats an HTTP status, as LiteLLM and vLLM do."""
    code, named = _token(body, _CODES), _token(body, _TYPES)
    short = body.get("error")  # beside a sentence it is the error's name
    if not named and isinstance(short, str) and " " not in short and short != message:
        named = "" if _is_literal(short) else _without_python(short)
    return code if _is_specific(code) or not named or named.isdigit() else named


def _is_specific(code: str) -> bool:
    return bool(code) and not re.fullmatch("[45][0-9][0-9]", code)


def _token(body: Mapping[str, Any], names: Iterable[str]) -> str:
    values = (body.get(name) for name in names)
    given = (str(each) for each in values if isinstance(each, str | int) and each is not True)
    return _first(_without_python(each) for each in given if each not in _NO_CODES)


_NO_CODES = frozenset({"", "0", "False", "error", "about:blank"})


def _without_python(code: str) -> str:
    """A code that is an exception class's name in the form of a code; none for Python's own."""
    named_class = getattr(builtins, code, None)
    if isinstance(named_class, type) and issubclass(named_class, BaseException):
        return ""
    if re.fullmatch(r"[A-Z][A-Za-z]*(Error|Exception)", code):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", code).lower()
    return code


def _param(body: Mapping[str, Any]) -> str:
    """`["body", "messages", 0, "content"]` as `messages[0].content`."""
    param = next((body[name] for name in _PARAMS if body.get(name)), "")
    if isinstance(param, str):
        return param
    if not isinstance(param, list):
        return ""
    path = param[1:] if param[:1] == ["body"] else param
    joined = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return joined.removeprefix(".")


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")
