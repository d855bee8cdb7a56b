"""`/v1`, ahead of Django: who asks and for what, told in OpenAI's JSON whatever happens.

Raw ASGI, for this is the hot path: a key and a model are looked up in memory, and nothing is asked
of the database or Redis before the upstream call. Nobody is ever sent to a sign-in page, and no
header allows browsers of other sites in (CORS): keys belong in programs.
"""

import logging
import random
import re
import time
import uuid
from contextlib import aclosing
from functools import cache
from typing import Any

import django.db
from django.conf import settings

from api import keys, model_list, model_resolver
from api.asgi_response import Message, Receive, Reply, Send, UntilLeft
from api.bodies import Body, BodyRefused, Budget
from api.completions import Completion, CompletionRequest, start_completion
from api.errors import ApiError, bad_request, unavailable
from api.keys import Caller
from api.request_parser import asked
from providers.domain.errors import CallError
from providers.protocols.openai_chat import encode_json
from providers.router import route_table

log = logging.getLogger(__name__)

ROOT = "/v1"
_MODELS, _COMPLETIONS = "/v1/models", "/v1/chat/completions"
_SANE = re.compile(rb"[\x21-\x7e]{1,128}")
_KEY = re.compile(rb"[\x20-\x7e]{1,255}")


def is_here(path: str) -> bool:
    """Whether a path is below /v1."""
    return path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in ("", "/")


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """One request."""
    await _Visit(scope, receive, send).run()


class _Visit:
    """One request on its way through the door."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._arrived = time.monotonic()
        self._method: str = scope["method"]
        # Clients end a path with a slash, or join it to a base URL that ends with one.
        self._path = f"{ROOT}/{scope['path'][len(ROOT) :].strip('/')}"
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        # A name, not a secret: the system's randomness would cost a system call.
        self._request_id = uuid.UUID(int=random.getrandbits(128), version=4)
        self._reply = Reply(send, self._ids(), bodiless=self._method == "HEAD")

    def _ids(self) -> dict[str, str]:
        """Our id of the request, and the caller's own where it sent a sane one; and that an answer
        is nobody else's."""
        headers = {"x-request-id": str(self._request_id), "cache-control": "no-store"}
        for name in (b"x-client-request-id", b"x-request-id"):
            if _SANE.fullmatch(theirs := self._headers.get(name, b"")):
                return headers | {"x-client-request-id": theirs.decode("ascii")}
        return headers

    async def run(self) -> None:
        try:
            await self._answer()
        except ApiError as refused:
            await self._refuse(refused)
        except django.db.Error:
            await self._refuse(unavailable("The database cannot be reached yet. Try again."))
        except Exception:
            # The door's last resort: a mistake of ours is told as one, in the caller's language.
            log.exception("api_failed request=%s", self._request_id)
            words = f"Something went wrong here. It is noted as request {self._request_id}."
            await self._refuse(ApiError(500, words, code="internal_error", type="server_error"))

    async def _answer(self) -> None:
        if self._path == _COMPLETIONS:
            self._require("POST")
            await self._complete(await self._caller())
        elif self._path == _MODELS:
            self._require("GET", "HEAD")
            await self._caller()
            known = await route_table.current().ready()
            await self._json(model_list.list_models(known.models))
        elif self._path.startswith(f"{_MODELS}/"):
            self._require("GET", "HEAD")
            await self._caller()
            await self._model(self._path.removeprefix(f"{_MODELS}/"))
        else:
            here = f"Here are {_MODELS} and {_COMPLETIONS}."
            message = f"There is nothing at {self._path[:200]}. {here}"
            raise ApiError(404, message, code="not_found")

    def _require(self, *methods: str) -> None:
        if self._method not in methods:
            message = f"{self._path} takes {' or '.join(methods)}, not {self._method}."
            allow = {"allow": ", ".join(methods)}
            raise ApiError(405, message, code="method_not_allowed", headers=allow)

    async def _caller(self) -> Caller:
        """The owner of the key in the request. Raises ApiError (401)."""
        if not (secret := self._secret()):
            raise _unauthorized("No key was sent. Send one as `Authorization: Bearer ocw-...`.")
        caller = await keys.current().caller(secret)
        if caller is None:
            raise _unauthorized("This key is not known here: it is wrong, revoked or expired.")
        return caller

    def _secret(self) -> str:
        """The key as OpenAI's clients send it, or as Anthropic's do; empty where there is none."""
        scheme, _, secret = self._headers.get(b"authorization", b"").partition(b" ")
        bearer = secret if scheme.lower() == b"bearer" else b""
        return (bearer.strip() or self._headers.get(b"x-api-key", b"").strip()).decode("latin-1")

    async def _model(self, name: str) -> None:
        known = await route_table.current().ready_for(name)
        found = model_list.find_model(known.models, name)
        if found is None:
            raise model_resolver.unknown(name, (model.full_name for model in known.models))
        await self._json(found)

    async def _json(self, payload: Any) -> None:
        await self._reply.json(200, encode_json(payload), {})

    # Completions

    async def _complete(self, caller: Caller) -> None:
        body = await self._body(caller)
        self._arrived = time.monotonic()  # a slow upload is not our overhead
        request = CompletionRequest(
            parsed=asked(body),
            caller=caller,
            request_id=self._request_id,
            arrived=self._arrived,
            body=body,
            idempotency_key=self._idempotency_key(),
        )
        async with UntilLeft(self._receive):
            completion = await start_completion(request)
            send = self._stream if request.parsed.stream else self._send_whole
            try:
                async with aclosing(completion.stream()):
                    await send(completion)
            except CallError as error:
                raise completion.to_api_error(error) from error

    def _idempotency_key(self) -> str:
        """The key under which the same answer is wanted again; empty where there is none."""
        given = self._headers.get(b"idempotency-key", b"")
        if given and not _KEY.fullmatch(given):
            raise bad_request("`Idempotency-Key` must be 1 to 255 printable characters.")
        return given.decode("ascii")

    async def _body(self, caller: Caller) -> bytes:
        """The request's body. Raises ApiError where it is too large, too slow, or broken off."""
        pieces: list[bytes] = []
        limit = settings.API_LARGEST_BODY
        with Body(self._receive, _budget(), caller.key_id, limit) as body:
            try:
                body.declare(self._headers.get(b"content-length", b"").decode("latin-1"))
                while not body.complete:
                    pieces.append((await body.next()).get("body", b""))
            except BodyRefused as refused:
                raise _body_refused(refused) from refused
        return b"".join(pieces)

    async def _send_whole(self, completion: Completion) -> None:
        head = await completion.head()
        body = b"".join([piece async for piece in completion.stream()])
        await self._reply.json(head.status, body, head.headers)

    async def _stream(self, completion: Completion) -> None:
        """Send the pieces as they come. An error may follow a keep-alive, or come in its place."""
        async with self._reply.kept_alive(settings.API_KEEP_ALIVE):
            await self._reply.events((await completion.head()).headers)
            async for piece in completion.stream():
                await self._reply.piece(piece)
        await self._reply.end()

    async def _refuse(self, refused: ApiError) -> None:
        """Tells an error, with the figures that every answer has."""
        spent = sum(tried.record.duration_ms for tried in refused.attempts)
        overhead = max(0.0, (time.monotonic() - self._arrived) * 1000 - spent)
        figures = {
            "x-attempts": str(len(refused.attempts)),
            "x-overhead-ms": f"{overhead:.2f}",
        }
        if refused.attempts:
            figures["x-route"] = refused.attempts[-1].route
        refused.headers |= figures
        await self._reply.refuse(refused)


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


_BODY_CODES = {
    400: "request_broken_off",
    408: "request_timeout",
    413: "request_too_large",
    503: "too_many_bodies",
}


def _body_refused(refused: BodyRefused) -> ApiError:
    """The same in OpenAI's JSON; the connection is closed, and with it the rest of the body."""
    status, code = refused.status, _BODY_CODES[refused.status]
    headers = {"connection": "close"}
    if status != 503:
        return ApiError(status, refused.message, code=code, headers=headers)
    headers["retry-after"] = "5"
    return ApiError(status, refused.message, code=code, type="overloaded_error", headers=headers)


@cache
def _budget() -> Budget:
    """Of this process: half of it for one key, but always enough for one body."""
    largest = settings.API_LARGEST_BODY
    total = max(settings.API_BODIES, largest)
    return Budget(total=total, share=max(total // 2, largest))
