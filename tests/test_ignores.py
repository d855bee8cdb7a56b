"""What is secret or made here stays out of git and of the image."""

import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRIVATE = [
    *(".env", ".env.local", "production.env", ".data/secret_key", ".data-2/encryption_keys"),
    *("encryption_keys", "secret_key", ".venv/bin/python", ".venv-2/x", ".mypy_cache/x"),
    *(".pytest_cache/x", ".hypothesis/x", "providers/__pycache__/x.pyc", "web.log"),
]


@pytest.mark.parametrize("path", PRIVATE)
def test_git_ignores_it(path: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    command = ["git", "check-ignore", "-q", "--no-index", path]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", PRIVATE)
def test_the_image_does_not_take_it(path: str) -> None:
    """By Docker's rules: a pattern matches a path or one of its folders."""
    patterns = (ROOT / ".dockerignore").read_text().split()
    parts = Path(path).parts
    heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    names = [name for pattern in patterns for name in (pattern, pattern.removeprefix("**/"))]
    assert any(fnmatch(head, name) for head in heads for name in names)


def test_images_are_named_once_and_can_be_pinned() -> None:
    """By a variable that takes a digest."""
    texts = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    assert "FROM ${PYTHON_IMAGE}\n" in texts[0]
    for name in ("PYTHON_IMAGE", "POSTGRES_IMAGE", "VALKEY_IMAGE"):
        assert f"${{{name}:-" in texts[1]
