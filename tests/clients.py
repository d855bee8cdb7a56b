"""Real clients that are no Python packages: fetched once from the npm registry, kept in `.venv`.

A machine without npm skips what needs them; CI does not.
"""

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".venv" / "clients"
OPENCODE = "1.18.33"
CLAUDE_CODE = "2.1.197"
CODEX = "0.171.0"
AI_SDK = "7.0.173"
AI_SDK_OPENAI = "4.0.118"
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
# Nothing is fetched, shared or updated while a test looks on.
_QUIET = {
    f"OPENCODE_DISABLE_{name}": "1"
    for name in ("MODELS_FETCH", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE")
}


def npm_package(name: str, version: str) -> Path:
    """The folder of an npm package; its scripts are not run."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is needed for the real clients, and CI skips nothing")
        pytest.skip("npm is needed for the real clients")
    folder = KEPT / f"{name}-{version}"
    installed = folder / "node_modules" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two lanes may want it at once
        if not (folder / "ready").exists():
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
            subprocess.run(["npm", "install", *options, f"{name}@{version}"], check=True)
            (folder / "ready").touch()
    return installed


@dataclass(frozen=True, slots=True)
class OpenCode:
    """OpenCode's command line in a home and a git project of its own."""

    folder: Path

    def run(self, *arguments: str, **environment: str) -> str:
        """What `opencode run` prints, as lines of JSON."""
        project = self.folder / "project"
        if not (project / ".git").exists():
            project.mkdir()
            subprocess.run(["git", "init", "-q", str(project)], check=True)
        command = [str(_opencode()), "run", "--title", "x", "--format", "json", *arguments]
        done = subprocess.run(
            command,
            cwd=project,
            env={**self._environment(), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return str(done.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command of `opencode` that goes on running, without a terminal."""
        return subprocess.Popen(
            [str(_opencode()), *arguments],
            env=dict(self._environment()),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _environment(self) -> Mapping[str, str]:
        home = self.folder / "home"
        folders = {f"XDG_{name}_HOME": str(home / name) for name in ("DATA", "CONFIG", "CACHE")}
        state = {"XDG_STATE_HOME": str(home / "STATE"), "HOME": str(home)}
        return {"PATH": os.environ["PATH"], **_QUIET, **folders, **state}


def _opencode() -> Path:
    system = platform.system().lower()
    name = f"opencode-{system}-{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
    return npm_package(name, OPENCODE) / "bin" / "opencode"


def claude_code() -> Path:
    """The command line of Claude Code."""
    system = platform.system().lower()
    machine = _ARCHITECTURES.get(platform.machine(), platform.machine())
    return npm_package(f"@anthropic-ai/claude-code-{system}-{machine}", CLAUDE_CODE) / "claude"


def codex() -> Path:
    """The command line of Codex."""
    system, machine = platform.system().lower(), platform.machine()
    architecture = _ARCHITECTURES.get(machine, machine)
    package = npm_package("@openai/codex", f"{CODEX}-{system}-{architecture}")
    return next(package.glob("vendor/*/bin/codex"))


def ai_sdk() -> tuple[Path, Path]:
    """The folders of Vercel's AI SDK and of its OpenAI provider."""
    return npm_package("ai", AI_SDK), npm_package("@ai-sdk/openai", AI_SDK_OPENAI)
