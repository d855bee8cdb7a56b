"""The rules of docs/architecture.md, asked of the code itself."""

import subprocess
from pathlib import Path

from django.conf import settings
from django.utils.module_loading import import_string

from tests.programs import PYTHON

ROOT = Path(__file__).resolve().parent.parent


def test_every_middleware_is_async_capable() -> None:
    """One sync middleware makes Django hop threads around every view below it."""
    for path in settings.MIDDLEWARE:
        assert import_string(path).async_capable, path


def test_the_web_process_never_imports_litellm() -> None:
    """Seconds and 160 MB, for something only the gateway process needs."""
    code = (
        "import sys, opencode_web.asgi, chat.runner, opencode_web.celery;"
        "sys.exit('litellm' in sys.modules)"
    )
    assert subprocess.run([PYTHON, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_module_outgrows_its_sentence() -> None:
    """400 lines is the hard stop of the house."""
    for app in ("providers", "chat", "health", "api", "opencode_web"):
        for path in (ROOT / app).rglob("*.py"):
            if "migrations" not in path.parts:
                assert len(path.read_text().splitlines()) <= 400, path


def test_every_module_says_what_it_is_for() -> None:
    """The first sentence of a module is its responsibility."""
    for app in ("providers", "chat", "health", "api", "opencode_web", "tests"):
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text().lstrip()
            empty = not text
            assert empty or "migrations" in path.parts or text.startswith(('"""', "#!")), path
