"""Make `.venv` from the hash-pinned locks; `./dev` runs this as a script on a bare Python.

Every package is installed by hash and without asking for dependencies: the locks are complete.
uv does it in a tenth of pip's time, so where it is not installed pip fetches it first, by hash too.
The locks are copied into the environment last: an interrupted install is detected and restarted.
Byte code is not written here: that takes four times as long as the packages, and whatever is
imported writes its own.
A development environment holds a second one, `run`, made from requirements.txt alone: the programs
that tests start run in it, so that a package which only the tests have is missed there.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = "run"
"""The folder, in a development environment, of the one that programs under test run in."""
LOCKS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
NEEDED_BYTES = {"run": 1200 * 1024 * 1024, "dev": 2600 * 1024 * 1024}
"""Free bytes an install needs, downloads included."""


class InstallFailed(Exception):
    """Why the environment was not made, as a sentence for a person."""


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def is_complete(kind: str, environment: Path) -> bool:
    """Whether the environment was made from the locks as they are now."""
    names = {LOCKS["run"], LOCKS[kind]}
    return (environment / "bin/python").exists() and all(
        _text(ROOT / name) == _text(environment / "installed" / name) for name in names
    )


def choose_kind(kind: str, environment: Path) -> str:
    """The kind to install: a development environment stays one, whatever verb renews it."""
    return "dev" if (environment / "installed" / LOCKS["dev"]).exists() else kind


def environments(kind: str, environment: Path) -> list[tuple[str, Path]]:
    """What a kind consists of, each with its folder, in the order of making."""
    made = [(kind, environment)]
    return [*made, ("run", environment / PROGRAMS)] if kind == "dev" else made


def install(kind: str, environment: Path) -> None:
    began = time.monotonic()
    kind = choose_kind(kind, environment)
    if shutil.disk_usage(environment.parent).free < NEEDED_BYTES[kind]:
        raise InstallFailed(
            f"The packages need {NEEDED_BYTES[kind] / 1e9:.1f} GB, and {environment.parent} has"
            " less free. Free some space and run this again."
        )
    report(f"Making {environment} with Python {sys.version.split()[0]} from {LOCKS[kind]} ...")
    unfinished = environment / "unfinished"
    make_environment(environment, afresh=unfinished.exists())
    unfinished.touch()
    shutil.rmtree(environment / "installed", ignore_errors=True)
    fill(kind, environment)
    (environment / "installed").mkdir()
    for name in {LOCKS["run"], LOCKS[kind]}:
        shutil.copyfile(ROOT / name, environment / "installed" / name)
    unfinished.unlink()
    report(f"The environment is ready after {time.monotonic() - began:.0f} s.")


def make_environment(environment: Path, *, afresh: bool) -> None:
    """Keep an environment that works: replacing packages is much faster than fetching all."""
    python = environment / "bin/python"
    if not afresh and python.exists() and _runs([str(python), "-c", "pass"]):
        return
    venv.create(environment, clear=True, symlinks=True, with_pip=False)


def fill(kind: str, environment: Path) -> None:
    lock = ROOT / LOCKS[kind]
    if uv := find_uv(environment):
        command = [uv, "pip", "sync", "--quiet", "--require-hashes"]
        _run_or_fail([*command, "--python", str(environment / "bin/python"), str(lock)])
        return
    report("Installing with pip; this takes a minute.")
    _run_or_fail(
        [*_pip(environment), "--no-compile", "--no-deps", "--require-hashes", "-r", str(lock)]
    )


def find_uv(environment: Path) -> str | None:
    """The user's uv, or one that pip puts aside in the environment; none where that fails."""
    home = Path(os.environ.get("HOME", "/"))
    nested = environment.name == PROGRAMS
    aside = (environment.parent if nested else environment) / "uv"
    for place in (shutil.which("uv"), home / ".local/bin/uv", home / ".cargo/bin/uv"):
        if place and _runs([str(place), "--version"]):
            return str(place)
    if not _runs([str(aside / "bin/uv"), "--version"]):
        report("Fetching uv, which installs the packages ...")
        lock = str(ROOT / "requirements-boot.txt")
        fetch = [*_pip(environment), "--no-deps", "--require-hashes", "--target", str(aside)]
        shutil.rmtree(aside, ignore_errors=True)
        if not _runs([*fetch, "-r", lock]):
            return None
    return str(aside / "bin/uv")


def _pip(environment: Path) -> list[str]:
    """This Python's own pip, working on the environment; ensurepip brings one where it has none."""
    python = str(environment / "bin/python")
    quiet = ["--quiet", "--disable-pip-version-check"]
    if _runs([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip", "--python", python, "install", *quiet]
    if not _runs([python, "-m", "ensurepip"]):
        version = ".".join(map(str, sys.version_info[:2]))
        raise InstallFailed(
            f"This Python ({sys.executable}) comes without pip. Install it"
            f" (Debian: apt-get install python{version}-venv), or install uv, and run this again."
        )
    return [python, "-m", "pip", "install", *quiet]


def _run_or_fail(command: Sequence[str]) -> None:
    # uv brings certificates of its own, which do not know a company's; older ones spell it TLS.
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    done = subprocess.run(  # noqa: S603
        command, stderr=subprocess.PIPE, text=True, check=False, env=environment
    )
    if not done.returncode:
        return
    sys.stderr.write(done.stderr)
    if "No space left on device" in done.stderr:
        raise InstallFailed("The disk is full. Free some space and run this again.")
    raise InstallFailed("The packages could not be installed; the lines above say why.")


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def main(kind: str, environment: Path) -> int:
    """One install at a time: a second `./dev` waits for the first and finds its work done."""
    folder = os.open(environment.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        for each, place in environments(kind, environment):
            if not is_complete(each, place):
                install(each, place)
    except InstallFailed as exc:
        report(str(exc))
        return 1
    except KeyboardInterrupt:
        report("Interrupted. Run this again to go on.")
        return 130
    except OSError as exc:
        report(f"{environment} could not be made: {exc.strerror} ({exc.filename or environment}).")
        return 1
    finally:
        os.close(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
