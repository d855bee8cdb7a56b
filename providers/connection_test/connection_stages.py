"""The stages before HTTP: look up the name, connect, secure the connection.

Each is made once by hand, so that each reports a failure of its own. An HTTP client does the same,
but reports one error for all three.
"""

import socket
import time
from contextlib import nullcontext

from aiohappyeyeballs import AddrInfoType

from providers.clients import connect, gateway
from providers.connection_test.stages import StageName, StageReporter
from providers.domain import base_url
from providers.domain.errors import CallError
from providers.domain.types import Method, Target
from providers.probes import gateways
from providers.probes.probe import ms_since

MAX_LISTED_ADDRESSES = 3


async def wait_for_gateway_process(target: Target, report: StageReporter, stage: StageName) -> None:
    """Wait until the gateway process is ready, where the target goes through it."""
    if target.upstream:
        report.start(stage, "Waiting until the gateway process is ready")
        await gateways.wait_for_process()


async def check_connection(target: Target, report: StageReporter) -> CallError | None:
    """Report `dns`, `tcp` and `tls`; return the error of the one that failed."""
    began = time.monotonic()
    stage: StageName = "dns"
    through_gateway = target.method == Method.GATEWAY
    try:
        with gateway.attributed_errors(target) if through_gateway else nullcontext():
            addresses = await _resolve(target, report)
            stage = "tcp"
            connection = await _connect(target, addresses, report)
            stage = "tls"
            await _secure(target, connection, report)
    except CallError as error:
        report.fail(stage, error, ms_since(began))
        return error
    return None


async def _resolve(target: Target, report: StageReporter) -> list[AddrInfoType]:
    began = time.monotonic()
    report.start("dns")
    addresses = await connect.resolve_host(target.base_url, target.timeouts.connect)
    if base_url.parse_literal(base_url.host_name(target.base_url)):
        report.skip("dns", "The address is a number: there is no name to look up.")
    else:
        hosts = [str(address[0]) for *_, address in addresses]
        more = ", …" if len(hosts) > MAX_LISTED_ADDRESSES else ""
        report.succeed("dns", ", ".join(hosts[:MAX_LISTED_ADDRESSES]) + more, ms_since(began))
    return addresses


async def _connect(
    target: Target, addresses: list[AddrInfoType], report: StageReporter
) -> socket.socket:
    began = time.monotonic()
    report.start("tcp")
    connection = await connect.open_connection(target.base_url, addresses, target.timeouts.connect)
    host, port, *_ = connection.getpeername()
    report.succeed("tcp", f"{host}, port {port}", ms_since(began))
    return connection


async def _secure(target: Target, connection: socket.socket, report: StageReporter) -> None:
    began = time.monotonic()
    if not target.base_url.startswith("https:"):
        connection.close()
        is_near = base_url.is_private(target.base_url)
        risk = "the server is near." if is_near else "anyone on the network path can read the key."
        report.skip("tls", f"The address is plain http: {risk}")
        return
    report.start("tls")
    protocol = await connect.negotiate_tls(target.base_url, connection, target.timeouts.connect)
    report.succeed("tls", protocol, ms_since(began))
