"""Claude Code's own command line reads an answer through `/v1/messages`."""

import json
import os
import subprocess
from pathlib import Path

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.clients import claude_code


def test_claude_code_gets_an_answer(
    door: Door, acme: Provider, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """With its tools, thinking and cache marks, from a model that has none of them."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": door.site.url,
        "ANTHROPIC_AUTH_TOKEN": door.secret,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "acme/echo",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    options = ["--model", "acme/echo", "--output-format", "json"]
    done = subprocess.run(
        [str(claude_code()), "-p", "Hello there, café", *options],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr[-1000:])
    result = json.loads(done.stdout)
    assert (result["is_error"], result["stop_reason"]) == (False, "end_turn")
    assert "Hello there, café" in result["result"]
    assert any(request.body.get("tools") for request in fake.requests)
