"""A pytest plugin: SIGTERM ends a run as Ctrl-C does, so that fixtures stop what they started."""

import signal


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
