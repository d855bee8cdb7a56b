"""Limit wrong passwords, counted before hashing, without letting strangers lock an account.

    who tries                                limit in five minutes
    a browser that signed in to the account  5, of its own: whatever others do, it can sign in
    any other, for one account               5 from an address, 20 from all addresses together
    any other, for all accounts              20 from an address: an office may share one

Each process counts for itself, and all together in Redis; the higher count holds. So a Redis that
is away neither stops a sign-in nor opens the door. A name or an address is stored as a keyed hash.
"""

import ipaddress
import logging
import time
from dataclasses import dataclass
from threading import Lock

from django.utils.crypto import salted_hmac
from redis.exceptions import RedisError

from providers.infra.redis_client import Avoidance, patient_client

log = logging.getLogger(__name__)

WINDOW_SECONDS = 300
PER_BROWSER = 5  # wrong passwords in a window, of a browser that signed in to this account before
PER_ACCOUNT_AND_ADDRESS = 5
PER_ACCOUNT = 20  # from all addresses, of browsers that never signed in to it
PER_ADDRESS = 20  # for all accounts
MAX_WINDOWS = 10_000  # of one process; the oldest are forgotten first


class Throttled(Exception):
    """No password is checked now. `seconds`: until one is; `first`: the first refusal since."""

    def __init__(self, seconds: int, *, account: bool, first: bool) -> None:
        super().__init__()
        self.seconds, self.account, self.first = seconds, account, first


@dataclass(frozen=True, slots=True)
class Count:
    """Attempts in the current window, and the seconds until it ends."""

    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Limit:
    """How many attempts a key may count. `account`: whether it limits one account's."""

    key: str
    attempts: int
    account: bool = True


class SignInAttempt:
    """One password to be checked, counted as wrong unless it is cancelled."""

    def __init__(self, limits: list[_Limit]) -> None:
        self._keys = [limit.key for limit in limits]

    def cancel(self) -> None:
        """Do not count it: the password was right, or it was not checked."""
        for key in self._keys:
            _subtract(key)


def begin(account: str, address: str, browser: str = "") -> SignInAttempt:
    """Count an attempt for an account from an address. Raises Throttled.

    `browser`: the id of a browser that has signed in to this account before.
    """
    limits = _limits(account.casefold(), _network(address), browser)
    for number, limit in enumerate(limits):
        try:
            _add(limit)
        except Throttled:
            # Nothing was tried, so nobody else behind these limits pays for it.
            SignInAttempt(limits[:number]).cancel()
            raise
    return SignInAttempt(limits)


def _limits(account: str, network: str, browser: str) -> list[_Limit]:
    """The limits of an attempt; a refusal counts for the first one that is exceeded alone."""
    if browser:
        return [_Limit(_key("browser", f"{account}\0{browser}"), PER_BROWSER)]
    pair = _key("account-address", f"{account}\0{network}")
    return [
        _Limit(_key("address", network), PER_ADDRESS, account=False),
        _Limit(pair, PER_ACCOUNT_AND_ADDRESS),
        _Limit(_key("account", account), PER_ACCOUNT),
    ]


def _add(limit: _Limit) -> None:
    here = _local.add(limit.key)
    shared = _shared.add(limit.key)
    count = max(here, shared or here, key=lambda each: (each.attempts, each.seconds))
    if count.attempts > limit.attempts:
        seconds = max(1, round(count.seconds))
        first = count.attempts == limit.attempts + 1
        raise Throttled(seconds, account=limit.account, first=first)


def _subtract(key: str) -> None:
    _local.subtract(key)
    _shared.subtract(key)


def _key(kind: str, value: str) -> str:
    digest = salted_hmac("opencode_web.throttle", value, algorithm="sha256").hexdigest()
    return f"throttle:{kind}:{digest}"


def _network(address: str) -> str:
    """An IPv6 address as its /64: that much is one customer's."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if ip.version == 6 else str(ip)


class Local:
    """The counts of this process. `now`: the monotonic clock."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[int, float]] = {}  # attempts, end of the window
        self._lock = Lock()

    def add(self, key: str, now: float | None = None) -> Count:
        now = time.monotonic() if now is None else now
        with self._lock:
            attempts, ends = self._windows.get(key, (0, 0.0))
            if ends <= now:
                attempts, ends = 0, now + WINDOW_SECONDS
                self._windows.pop(key, None)  # windows stay in the order of their ends
                self._prune(now)
            self._windows[key] = (attempts + 1, ends)
            return Count(attempts + 1, ends - now)

    def subtract(self, key: str) -> None:
        with self._lock:
            if key in self._windows:
                attempts, ends = self._windows[key]
                self._windows[key] = (max(0, attempts - 1), ends)

    def clear(self) -> None:
        with self._lock:
            self._windows.clear()

    def _prune(self, now: float) -> None:
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest][1] > now and len(self._windows) < MAX_WINDOWS:
                return
            del self._windows[oldest]


class Shared:
    """The counts of all processes, in Redis; None where it is away."""

    def __init__(self) -> None:
        self._avoidance = Avoidance()

    def add(self, key: str) -> Count | None:
        if self._avoidance.is_active:
            return None
        try:
            with patient_client().pipeline() as commands:
                commands.set(key, 0, ex=WINDOW_SECONDS, nx=True)
                commands.incr(key)
                commands.ttl(key)
                _, attempts, seconds = commands.execute()
        except RedisError as exc:
            self._avoid(exc)
            return None
        return Count(attempts, max(1.0, seconds))

    def subtract(self, key: str) -> None:
        if self._avoidance.is_active:
            return
        try:
            # A window that ended meanwhile must not come back without an end.
            patient_client().eval(
                "return redis.call('exists', KEYS[1]) == 1 and redis.call('decr', KEYS[1])",
                1,
                key,
            )
        except RedisError as exc:
            self._avoid(exc)

    def _avoid(self, exc: RedisError) -> None:
        self._avoidance.start()
        log.warning("throttle_without_redis problem=%s", type(exc).__name__)


_local, _shared = Local(), Shared()
