"""The web process's server: granian, whose end loses no answer.

At SIGTERM `/readyz` says 503 at once, so that a load balancer sends no further requests. After
STOP_PAUSE the listener closes, and answers under way have STOP_DRAIN to end. A second SIGTERM ends
the pause.
"""

import argparse
import math
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from opencode_web.env import Environment, read

HEADER_TIMEOUT_MS = 15_000  # in which a request's headers have to be complete
CONNECTIONS = 4096  # open streams count as back-pressure, whose default is as low as the backlog's


class Server(MPServer):
    """Granian, with a pause between the signal and the end."""

    pause = 0.0

    def shutdown(self, exit_code: int = 0) -> None:
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, signal.SIGUSR1)
        self.main_loop_interrupt.clear()
        self.main_loop_interrupt.wait(self.pause)
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]


def server(host: str, port: int, settings: Environment) -> Server:
    made = Server(
        "opencode_web.asgi:application",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=1,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        respawn_failed_workers=True,
        workers_kill_timeout=math.ceil(settings.stop_drain),
        log_level=LogLevels.warning,
    )
    made.pause = settings.stop_pause
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m opencode_web.serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args(arguments)
    server(chosen.host, chosen.port, read()).serve()


if __name__ == "__main__":
    main()
