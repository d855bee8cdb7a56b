"""What the Connect page gives to copy, run as it is: by a shell, Python, and the clients."""

import base64
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import httpx
import pytest
from django.test import Client

from providers.models import LanguageModel, Provider
from tests import fakes
from tests.api.conftest import Door
from tests.clients import OpenCode, claude_code, codex
from tests.polling import wait_until

# One transparent pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CODEX = "Codex: ~/.codex/config.toml"
LOGIN = "OpenCode, without a key"
_SNIPPET = re.compile(r'aria-label="([^"]+)"><code>(.*?)</code>', re.DOTALL)


def pasted(door: Door) -> dict[str, str]:
    """The page's texts by their titles, as a browser at the running site sees them."""
    client = Client()
    client.force_login(door.user)
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    page = httpx.get(f"{door.site.url}/connect/", cookies=cookies).text
    return {title: unescape(text) for title, text in _SNIPPET.findall(page)}


def run(door: Door, command: list[str], folder: Path) -> str:
    """What a command prints in an empty folder, with the key in the environment."""
    environment = {"PATH": os.environ["PATH"], "OPENCODE_WEB_KEY": door.secret}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_text_of_the_page_is_run_here(door: Door, acme: Provider) -> None:
    """A new one needs a test of its own below; the sign-in of OpenCode is in test_well_known."""
    titles = {LOGIN, "opencode.json", "Claude Code", CODEX, "curl", "Python"}
    assert set(pasted(door)) == titles


def test_claude_code_gets_an_answer(
    door: Door, acme: Provider, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """With its tools, thinking and cache marks, from a model that has none of them."""
    environment = {
        "PATH": f"{claude_code().parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "OPENCODE_WEB_KEY": door.secret,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    command = f"{pasted(door)['Claude Code']} -p 'Hello there, café' --output-format json"
    done = subprocess.run(
        ["sh", "-c", command],
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


def test_codex_calls_a_tool_and_reads_its_result(
    door: Door, acme: Provider, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """With its functions, namespaces and hosted tools, from a model that has functions alone."""
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "config.toml").write_text(pasted(door)[CODEX])
    (tmp_path / "project").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path / "project")], check=True)
    fake.script("codex-runs", "echo")
    done = subprocess.run(
        # The containers that tests run in are sandboxes already.
        [str(codex()), "exec", "--json", "-s", "danger-full-access", "Hello there, café"],
        cwd=tmp_path / "project",
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OPENCODE_WEB_KEY": door.secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-1000:], done.stderr[-1000:])
    events = [json.loads(line) for line in done.stdout.splitlines()]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    texts = [item["text"] for item in items if item["type"] == "agent_message"]
    assert texts == ["Hello there, café"]
    assert events[-1]["type"] == "turn.completed"
    assert events[-1]["usage"]["output_tokens"] > 3
    called, answered = fake.requests[-2:]
    names = {tool["function"]["name"] for tool in called.body["tools"]}
    assert {"exec_command", "multi_agent_v1__close_agent"} <= names
    assert {tool["type"] for tool in called.body["tools"]} == {"function"}
    assert [message["role"] for message in answered.body["messages"]][-2:] == ["assistant", "tool"]
    assert "it ran" in answered.body["messages"][-1]["content"]


def test_curl_gets_an_answer(door: Door, acme: Provider, tmp_path: Path) -> None:
    """By any shell."""
    printed = run(door, ["sh", "-c", pasted(door)["curl"]], tmp_path)
    assert json.loads(printed)["choices"][0]["message"]["content"]


def test_python_prints_the_answer(door: Door, acme: Provider, tmp_path: Path) -> None:
    """With OpenAI's package and nothing of ours."""
    script = tmp_path / "hello.py"
    script.write_text(pasted(door)["Python"])
    assert run(door, [sys.executable, "-I", str(script)], tmp_path).strip()


@pytest.fixture
def opencode(door: Door, acme: Provider, tmp_path: Path) -> OpenCode:
    """The real client with the page's configuration."""
    LanguageModel.objects.filter(provider=acme).update(
        vision=True, tools=True, sources={"vision": "hand", "tools": "hand"}, alias="eyes"
    )
    made = OpenCode(tmp_path)
    (tmp_path / "project").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path / "project")], check=True)
    (tmp_path / "project" / "opencode.json").write_text(pasted(door)["opencode.json"])
    (tmp_path / "pixel.png").write_bytes(PIXEL)
    return made


@pytest.mark.parametrize("name", ["acme/echo", "eyes"])
def test_opencode_sends_a_picture(
    door: Door, opencode: OpenCode, fake: fakes.Upstream, name: str, tmp_path: Path
) -> None:
    """The model is known to see, under each of its names; OpenCode drops pictures otherwise."""
    wait_until(lambda: "eyes" in door.models())
    arguments = ("-m", f"opencode-web/{name}", "What is this?", "-f", str(tmp_path / "pixel.png"))
    printed = opencode.run(*arguments, OPENCODE_WEB_KEY=door.secret)
    assert '"type":"text"' in printed
    parts = fake.requests[-1].body["messages"][-1]["content"]
    assert "image_url" in {part["type"] for part in parts}
    assert fake.requests[-1].body["tools"]
