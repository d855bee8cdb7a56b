"""The home folder: one run at a time, keys made once, secrets closed to others."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from opencode_web.launcher import home


def test_a_second_run_on_one_home_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """It names the folder, the process and the way out."""
    with home.occupy(tmp_path, "up"):
        assert home.is_occupied(tmp_path)
        with pytest.raises(home.CannotStart) as refused, home.occupy(tmp_path, "manage"):
            pass
    assert f"{tmp_path} is in use by `./dev up` (process {os.getpid()})" in str(refused.value)
    assert "./dev down" in str(refused.value)
    assert not home.is_occupied(tmp_path)


def test_keys_are_made_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """A new key at each start would lose every stored secret."""
    first = home.ensure_keys(tmp_path)
    texts = {name: Path(path).read_text() for name, path in first.items()}
    assert home.ensure_keys(tmp_path) == first
    assert texts == {name: Path(path).read_text() for name, path in first.items()}
    assert {0o600} == {stat.S_IMODE(Path(path).stat().st_mode) for path in first.values()}


def test_a_generated_key_is_one_that_encrypts() -> None:
    """It is made without the library that uses it."""
    Fernet(home.generate_encryption_key())


def test_what_runs_can_be_joined_until_it_ends(tmp_path: Path) -> None:
    """`./dev manage` finds the addresses there, and nothing once it has stopped."""
    with home.occupy(tmp_path, "up"):
        assert home.running(tmp_path) is None
        home.announce(tmp_path, "up", {"REDIS_URL": "unix:///somewhere"})
        state = home.running(tmp_path)
        assert state
        assert state.environment == {"REDIS_URL": "unix:///somewhere"}
        assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert home.running(tmp_path) is None


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """It says which variable to change."""
    (tmp_path / "file").touch()
    with pytest.raises(home.CannotStart, match=r"cannot be written .* Set OPENCODE_WEB_HOME"):
        home.prepare(tmp_path / "file" / "home")


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started that would fail in the middle."""
    monkeypatch.setattr(home, "SMALLEST_DISK", 1 << 62)
    with pytest.raises(home.CannotStart, match="free some space"):
        home.prepare(tmp_path)


def test_a_new_run_counts_from_zero(tmp_path: Path) -> None:
    """What processes of the last run counted would be added to what nobody counts any more."""
    home.prepare(tmp_path)
    left = tmp_path / "metrics" / "counter_17.db"
    left.touch()
    home.clear_metrics(tmp_path)
    assert not left.exists()
