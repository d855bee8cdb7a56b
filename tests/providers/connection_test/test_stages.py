"""Stages: what a reporter emits, and how a stage crosses to another process."""

from providers.clients.recorder import Exchange
from providers.connection_test.stages import Stage, StageReporter, remark
from providers.domain.errors import CallError, ErrorKind
from providers.domain.types import Method


def test_only_open_stages_are_skipped() -> None:
    """A stage that ended keeps its state; one that is running is left out like the others."""
    emitted: list[Stage] = []
    report = StageReporter(Method.DIRECT, ("dns", "tcp", "tls"), emitted.append)
    report.start("dns")
    report.succeed("dns", "127.0.0.1", 3)
    report.start("tcp")
    report.skip_open("Why")
    states = [(stage.name, stage.state, stage.detail) for stage in emitted]
    assert states == [
        ("dns", "running", ""),
        ("dns", "ok", "127.0.0.1"),
        ("tcp", "running", ""),
        ("tcp", "skipped", "Why"),
        ("tls", "skipped", "Why"),
    ]
    assert not report.is_open("tls")


def test_a_remark_makes_a_warning() -> None:
    """And keeps its code for the diagnosis."""
    emitted: list[Stage] = []
    report = StageReporter(Method.DIRECT, ("usage",), emitted.append)
    report.succeed("usage", "Missing", remark=remark("None.", "no_usage"))
    assert emitted[0].state == "warn"
    assert emitted[0].error is not None
    assert emitted[0].error.code == "no_usage"


def test_a_stage_survives_json() -> None:
    """With its error and what was sent and received."""
    exchange = Exchange(request_line="GET /models", sent="", status=401, headers=(("a", "b"),))
    stage = Stage(
        method=Method.GATEWAY,
        name="auth",
        state="failed",
        detail="No",
        ms=4,
        error=CallError(ErrorKind.AUTH, "No", status=401, code="invalid_api_key"),
        exchange=exchange,
    )
    copy = Stage.from_json(stage.to_json())
    assert (copy.method, copy.name, copy.state, copy.ms) == (Method.GATEWAY, "auth", "failed", 4)
    assert copy.exchange == exchange
    assert copy.error is not None
    assert (copy.error.kind, copy.error.status) == (ErrorKind.AUTH, 401)
