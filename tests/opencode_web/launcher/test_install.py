"""The environment: made once, renewed when a lock changes, restarted after an interruption.

uv is a program of ours here, first on PATH, that notes how it was called: no package is fetched.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from opencode_web.launcher import install

UV = """#!/bin/sh
case $* in
  --version) echo uv 0 ;;
  *) echo "$*" >> "{calls}"; {does} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With two locks and a uv that succeeds."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "requirements.txt").write_text("run\n")
    (folder / "requirements-dev.txt").write_text("dev\n")
    monkeypatch.setattr(install, "ROOT", folder)
    monkeypatch.setattr(install, "NEEDED_BYTES", {"run": 0, "dev": 0})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    uv(folder, "true")
    return folder


def uv(checkout: Path, does: str) -> None:
    """What uv does from now on."""
    program = checkout.parent / "bin" / "uv"
    program.write_text(UV.format(calls=checkout / "calls", does=does))
    program.chmod(0o755)


def calls(checkout: Path) -> list[str]:
    path = checkout / "calls"
    return path.read_text().splitlines() if path.exists() else []


def make(checkout: Path, kind: str) -> int:
    return install.main(kind, checkout / ".venv")


def test_an_environment_is_made_once_from_the_hashed_lock(checkout: Path) -> None:
    """A second start finds it complete."""
    assert make(checkout, "run") == 0
    assert make(checkout, "run") == 0
    [call] = calls(checkout)
    assert call.startswith("pip sync --quiet --require-hashes --python ")
    assert call.endswith(f"{checkout}/requirements.txt")
    python = checkout / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


def test_a_development_environment_serves_up_and_stays_one(checkout: Path) -> None:
    """`./dev up` after `./dev test` installs nothing, and a changed lock renews all of it."""
    make(checkout, "dev")
    made = calls(checkout)
    make(checkout, "run")
    assert calls(checkout) == made
    (checkout / "requirements.txt").write_text("run 2\n")
    make(checkout, "run")
    assert calls(checkout)[-1].endswith("/requirements-dev.txt")


def test_programs_under_test_have_an_environment_of_their_own(checkout: Path) -> None:
    """Made from requirements.txt alone, inside the development environment, and renewed with it."""
    make(checkout, "dev")
    assert [call.rpartition("/")[2] for call in calls(checkout)] == [
        "requirements-dev.txt",
        "requirements.txt",
    ]
    assert f"--python {checkout}/.venv/run/bin/python" in calls(checkout)[-1]
    (checkout / "requirements.txt").write_text("run 2\n")
    make(checkout, "dev")
    assert len(calls(checkout)) == 4


def test_an_interrupted_install_is_begun_anew(checkout: Path) -> None:
    """Half a package could look like a whole one, so nothing of it is kept."""
    uv(checkout, 'echo half > "$(dirname "$0")/../checkout/.venv/half"; exit 1')
    assert make(checkout, "run") == 1
    assert (checkout / ".venv" / "half").exists()
    uv(checkout, "true")
    assert make(checkout, "run") == 0
    assert not (checkout / ".venv" / "half").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Path) -> None:
    """As after an upgrade of the system's Python."""
    make(checkout, "run")
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert make(checkout, "run") == 0
    assert python.resolve() == Path(sys.executable).resolve()


def test_a_full_disk_is_a_sentence(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the install, and in the middle of it."""
    uv(checkout, "echo 'failed to write: No space left on device (os error 28)' >&2; exit 1")
    assert make(checkout, "run") == 1
    assert capsys.readouterr().err.endswith(
        "The disk is full. Free some space and run this again.\n"
    )
    monkeypatch.setattr(install, "NEEDED_BYTES", {"run": 1 << 62, "dev": 1 << 62})
    assert make(checkout, "run") == 1
    assert "Free some space and run this again." in capsys.readouterr().err
