"""Logs are followed line by line, whatever happens to the files."""

from pathlib import Path

import pytest

from opencode_web.launcher import logs
from opencode_web.launcher.home import prepare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(tmp_path)
    return tmp_path


def test_a_follower_hands_out_whole_lines_once(folder: Path) -> None:
    """Half a line waits for its other half."""
    web = logs.log_path(folder, "web")
    web.write_text("old\n")
    follower = logs.Follower(folder)
    with web.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert list(follower.new_lines()) == [("web", "one")]
        file.write("o\n")
    assert list(follower.new_lines()) == [("web", "two")]


def test_a_follower_shows_the_end_of_what_was_there_when_asked(folder: Path) -> None:
    """`./dev logs` begins with the last lines."""
    logs.log_path(folder, "web").write_text("1\n2\n3\n")
    logs.log_path(folder, "beat").write_text("4\n")
    follower = logs.Follower(folder, "web", backlog=2)
    assert list(follower.new_lines()) == [("web", "2"), ("web", "3")]


def test_a_log_that_grew_too_large_is_cut_and_still_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer keeps its file; one older generation stays."""
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 10)
    web = logs.log_path(folder, "web")
    follower = logs.Follower(folder)
    with web.open("a") as file:
        file.write("a long line of text\n")
        file.flush()
        list(follower.new_lines())
        logs.cut_large(folder)
        file.write("next\n")
    assert list(follower.new_lines()) == [("web", "next")]
    assert web.with_suffix(".log.1").read_text() == "a long line of text\n"


def test_warnings_and_errors_alarm_and_other_lines_do_not() -> None:
    """Only what a person should see is shown on the terminal."""
    assert logs.is_alarming("2026-01-01 12:00:00 WARNING chat.runner lease_lost turn=3")
    assert logs.is_alarming("[WARNING] worker 1 is gone")
    assert not logs.is_alarming("2026-01-01 12:00:00 INFO chat.runner started")
    assert not logs.is_alarming("    . logfile -> [stderr]@%WARNING")
