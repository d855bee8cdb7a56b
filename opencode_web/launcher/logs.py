"""Find, rotate, cut and follow the log files of the parts.

Parts write to the files themselves, in append mode: nothing that reads a log can hold up a part,
and a file that grew too large is copied and cut without the writer noticing.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

MAX_LOG_BYTES = 20 * 1024 * 1024
"""Bytes a log may grow to; one older generation is kept beside it."""
ALARMING = re.compile(r"(?:^|[\s\[])(WARNING|ERROR|CRITICAL)\b")


def log_path(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def rotate(folder: Path) -> None:
    """Start new logs, and keep those of the last run as `NAME.log.1`."""
    for path in (folder / "logs").glob("*.log"):
        path.replace(path.with_suffix(".log.1"))


def last_lines(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()[-count:] if count else []
    except OSError:
        return []


def is_alarming(line: str) -> bool:
    return ALARMING.search(line) is not None


class Follower:
    """Return the lines added to a folder's logs since the last call."""

    def __init__(self, folder: Path, name: str = "*", *, backlog: int = 0) -> None:
        self._folder = folder
        self._name = name
        self._read: dict[Path, int] = {}
        for path in self._paths():
            self._read[path] = path.stat().st_size
        self._backlog = [
            (path.stem, line) for path in self._paths() for line in last_lines(path, backlog)
        ]

    def new_lines(self) -> Iterator[tuple[str, str]]:
        """(name of the part, line), file by file; half a line is left for the next time."""
        yield from self._backlog
        self._backlog = []
        for path in self._paths():
            for line in self._read_added(path):
                yield path.stem, line

    def _paths(self) -> list[Path]:
        return sorted((self._folder / "logs").glob(f"{self._name}.log"))

    def _read_added(self, path: Path) -> list[str]:
        offset = self._read.get(path, 0)
        if path.stat().st_size < offset:  # cut, or replaced by a new file
            offset = 0
        with path.open("rb") as file:
            file.seek(offset)
            added = file.read()
        complete = added[: added.rfind(b"\n") + 1]
        self._read[path] = offset + len(complete)
        return complete.decode(errors="replace").splitlines()


def cut_large(folder: Path) -> None:
    for path in (folder / "logs").glob("*.log"):
        if path.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            path.write_bytes(b"")


class RefusalFilter(logging.Filter):
    """Log a refused request (a 4xx, such as 403 or 404) as one line: its exception is how Django's
    views refuse, and no failure of the program."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
        return True
