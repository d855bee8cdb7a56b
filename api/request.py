"""One request to `/v1`, as every door reads it: its ids, its client key, its body.

Nothing here waits for the database: the key is looked up in memory, and so are its limits, while
this process has a lease of them.
"""

import math
import random
import re
import time
import uuid
from datetime import UTC, datetime
from functools import cache, partial

from django.conf import settings
from starlette.types import Receive, Scope

from api.bodies import Body, BodyRefused, Budget
from api.budgets import BudgetState
from api.errors import ApiError, bad_request
from api.keys import enforcement, lookup
from api.keys.enforcement import Admission
from api.keys.lookup import Caller
from api.limit_headers import LimitFigures
from providers.protocols import estimates
from providers.router import route_table

ROOT = "/v1"
_CLIENT_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_IDEMPOTENCY_KEY = re.compile(rb"[\x20-\x7e]{1,255}")


class ApiRequest:
    """One request. `arrived`: when its body was complete, on the monotonic clock."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.arrived = time.monotonic()
        self.scope = scope
        self.method: str = scope["method"]
        # Clients end a path with a slash, or join it to a base URL that ends with one.
        self.path = f"{ROOT}/{scope['path'][len(ROOT) :].strip('/')}"
        self.receive = receive
        # A name, not a secret: the system's randomness would cost a system call.
        self.request_id = uuid.UUID(int=random.getrandbits(128), version=4)
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._admission: Admission | None = None

    def response_headers(self) -> dict[str, str]:
        """The headers of every answer: our request id, and the client's own where it is valid."""
        headers = {"x-request-id": str(self.request_id), "cache-control": "no-store"}
        for name in (b"x-client-request-id", b"x-request-id"):
            if _CLIENT_ID.fullmatch(client_id := self._headers.get(name, b"")):
                return headers | {"x-client-request-id": client_id.decode("ascii")}
        return headers

    def require_method(self, *methods: str) -> None:
        """Raises ApiError (405) for any other method."""
        if self.method not in methods:
            message = f"{self.method} is not allowed for {self.path}. Use {' or '.join(methods)}."
            headers = {"allow": ", ".join(methods)}
            raise ApiError(405, message, code="method_not_allowed", headers=headers)

    async def authenticate(self, *, is_free: bool = False) -> Caller:
        """The owner of the client key. Raises ApiError: 401, or 429 where a limit or the budget
        of the key is used up. Every POST counts, unless it is free, as no provider is called."""
        if not (secret := self._secret()):
            message = "No API key was sent. Send one as `Authorization: Bearer ocw-...`."
            raise _unauthorized_error(message)
        caller = await lookup.current().find_caller(secret)
        if caller is None:
            raise _unauthorized_error("This API key is invalid, revoked or expired.")
        if self.method == "POST" and not is_free:
            _require_budget(caller)
            await self._admit(caller)
        return caller

    async def _admit(self, caller: Caller) -> None:
        if not caller.limits:
            return
        limiters, key_id = enforcement.current(), caller.key_id
        used = partial(route_table.current().key_usage.tokens, key_id)
        self._admission = Admission(limiters.find(key_id, caller.limits, used))
        await self._admission.count_request()

    def limits(self) -> tuple[LimitFigures, ...]:
        """What is left of the key's limits; none where it has none."""
        return self._admission.figures() if self._admission else ()

    def close(self) -> None:
        """The answer has ended: correct the estimate of its tokens."""
        if self._admission:
            self._admission.release()

    def _secret(self) -> str:
        """The key as OpenAI's clients send it, or as Anthropic's do; empty where there is none."""
        scheme, _, secret = self._headers.get(b"authorization", b"").partition(b" ")
        bearer = secret if scheme.lower() == b"bearer" else b""
        return (bearer.strip() or self._headers.get(b"x-api-key", b"").strip()).decode("latin-1")

    def pick_headers(self, *names: str) -> dict[str, str]:
        """The headers of these names that the request has, in lower case."""
        values = {name: self._headers.get(name.encode(), b"") for name in names}
        return {name: value.decode("latin-1") for name, value in values.items() if value}

    def idempotency_key(self) -> str:
        """The `Idempotency-Key` header; empty where there is none. Raises ApiError (400)."""
        key = self._headers.get(b"idempotency-key", b"")
        if key and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise bad_request("`Idempotency-Key` must be 1 to 255 printable ASCII characters.")
        return key.decode("ascii")

    async def read_body(self, caller: Caller, *, is_text: bool = True) -> bytes:
        """Read the complete body. Raises ApiError if it is too large, too slow, or incomplete, or
        where the key's tokens are used up. `is_text`: a model reads it as tokens."""
        pieces: list[bytes] = []
        with Body(self.receive, _budget(), caller.key_id, settings.API_LARGEST_BODY) as body:
            try:
                body.declare(self._headers.get(b"content-length", b"").decode("latin-1"))
                while not body.complete:
                    pieces.append((await body.next()).get("body", b""))
            except BodyRefused as exc:
                raise _body_error(exc) from exc
        self.arrived = time.monotonic()  # a slow upload is not our overhead
        if self._admission:
            size = sum(map(len, pieces)) if is_text else 0
            await self._admission.reserve_tokens(estimates.tokens(size))
        return b"".join(pieces)


def _unauthorized_error(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def _require_budget(caller: Caller) -> None:
    """Raises ApiError (429) where the key's budget is spent and refuses requests."""
    now = datetime.now(UTC)
    state = caller.budget_state(now)
    if state and state.refuses:
        raise _budget_error(state, now)


def _budget_error(state: BudgetState, now: datetime) -> ApiError:
    """Retry-After is the whole time until the budget renews: up to a month."""
    message = (
        f"The budget of this API key is spent: ${state.spent:.4f} of ${state.limit:.4f}. "
        f"It renews at {state.renews:%Y-%m-%d %H:%M} UTC."
    )
    seconds = math.ceil((state.renews - now).total_seconds())
    headers = {"retry-after": str(seconds)}
    type_, code = "rate_limit_error", "budget_exceeded"
    return ApiError(429, message, code=code, type=type_, headers=headers)


_BODY_CODES = {
    400: "request_broken_off",
    408: "request_timeout",
    413: "request_too_large",
    503: "too_many_bodies",
}


def _body_error(refused: BodyRefused) -> ApiError:
    """The refusal in OpenAI's JSON. The connection is closed, and with it the rest of the body."""
    status, code = refused.status, _BODY_CODES[refused.status]
    headers = {"connection": "close"}
    if status != 503:
        return ApiError(status, refused.message, code=code, headers=headers)
    headers["retry-after"] = "5"
    return ApiError(status, refused.message, code=code, type="overloaded_error", headers=headers)


@cache
def _budget() -> Budget:
    """The budget of this process: half of it for one key, but always enough for one body."""
    largest = settings.API_LARGEST_BODY
    total = max(settings.API_BODIES, largest)
    return Budget(total=total, share=max(total // 2, largest))
