"""The program's own processes: the command of each, and the address that web listens at."""

import asyncio
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from opencode_web.launcher.home import CannotStart
from opencode_web.launcher.supervisor import Part, Ready

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # recognised, not bound
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
LAST_WORDS = 4.0  # seconds for the last results to be written, once all answers have ended
MANAGE = (sys.executable, "manage.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the web process listens."""

    host: str
    port: int

    @property
    def numeric(self) -> str:
        """The host in the form that the server needs: names are resolved, `localhost` becomes
        127.0.0.1."""
        try:
            resolved = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror:
            raise CannotStart(f"--host {self.host} is no address of this machine.") from None
        addresses = [str(address[0]) for *_, address in resolved]
        return next((text for text in addresses if "." in text), addresses[0])

    @property
    def local(self) -> str:
        """The host to reach it from this machine."""
        return EVERYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The address people open; for one that listens everywhere, as others see this machine."""
        outside = _outside_address() if self.host in EVERYWHERE else None
        return f"http://{_bracket(outside or self.local)}:{self.port}"

    @property
    def allowed_hosts(self) -> str:
        names = [*LOCAL_NAMES, _bracket(self.local)]
        if self.host in EVERYWHERE:
            names += [socket.gethostname(), _outside_address() or "localhost"]
        return ",".join(dict.fromkeys(names))


def require_free(address: Address) -> None:
    """Raises CannotStart where the address cannot be listened on."""
    host = address.numeric
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do, or connections that just ended would count as a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, address.port))
        except PermissionError:
            raise CannotStart(
                f"Port {address.port} is only for root. Choose one above 1023:"
                f" ./dev up --port {address.port + 8000}"
            ) from None
        except OSError as exc:
            raise CannotStart(
                f"Port {address.port} on {address.host} cannot be used ({exc.strerror})."
                f" Choose another one: ./dev up --port {address.port + 1}"
            ) from None


def site_variables(address: Address) -> dict[str, str]:
    """The variables of one start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "PUBLIC_URL": address.url,
        "ALLOWED_HOSTS": address.allowed_hosts,
        "GATEWAY_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_TOKEN": secrets.token_urlsafe(32),
    }


def web(address: Address, env: Mapping[str, str], stop_seconds: float) -> Part:
    argv = [sys.executable, "-m", "opencode_web.serve"]
    argv += ["--host", address.numeric, "--port", str(address.port)]
    return Part(
        name="web",
        argv=tuple(argv),
        env=env,
        cwd=ROOT,
        ready=_is_answering(address),
        grace=stop_seconds + LAST_WORDS,
    )


def runner(env: Mapping[str, str]) -> Part:
    return Part(name="runner", argv=(*MANAGE, "runner"), env=env, cwd=ROOT)


def gateway(env: Mapping[str, str]) -> Part:
    """The gateway process. It stops last: answers under way in web and runner come through it."""
    argv = (*MANAGE, "gateway")
    return Part(name="gateway", argv=argv, env=env, cwd=ROOT, stops_last=True)


def worker(env: Mapping[str, str]) -> Part:
    argv = [sys.executable, "-m", "celery", "-A", "opencode_web.celery", "worker"]
    # One worker on one broker has nobody to gossip with.
    argv += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
    return Part(name="worker", argv=tuple(argv), env=env, cwd=ROOT)


def beat(env: Mapping[str, str], home: Path) -> Part:
    argv = [sys.executable, "-m", "celery", "-A", "opencode_web.celery", "beat", "-l", "WARNING"]
    argv += ["--pidfile=", "-s", str(home / "run" / "beat")]
    return Part(name="beat", argv=tuple(argv), env=env, cwd=ROOT)


def _is_answering(address: Address) -> Ready:
    async def ready() -> bool:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(address.local, address.port)
                try:
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
                    writer.write(b"Connection: close\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    return ready


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _outside_address() -> str | None:
    """This machine's address in its network; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])
