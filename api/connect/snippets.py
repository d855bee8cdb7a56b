"""Client configurations to copy: OpenCode, Claude Code, Codex, curl, Python. No I/O.

None contains a key: each reads it from the environment.
"""

import json
import shlex
from collections.abc import Iterable
from typing import Any

from providers.domain.frozen import frozen
from providers.domain.types import DiscoveredModel
from providers.protocols.opencode_config import describe_model

VARIABLE = "OPENCODE_WEB_KEY"
HELLO = [{"role": "user", "content": "Hello"}]


@frozen
class ListedModel:
    """A model under the names that clients use: its full name, and its alias where it has one."""

    id: str
    facts: DiscoveredModel
    alias: str = ""


@frozen
class Snippet:
    """One text to copy."""

    title: str
    language: str
    text: str


def make_snippets(base_url: str, models: Iterable[ListedModel]) -> list[Snippet]:
    """All snippets, for these models."""
    listed = list(models)
    model = listed[0].id if listed else "provider/model"
    return [
        Snippet(title="opencode.json", language="json", text=opencode(base_url, listed)),
        Snippet(title="Claude Code", language="sh", text=claude_code(base_url, model)),
        Snippet(title="Codex: ~/.codex/config.toml", language="toml", text=codex(base_url, model)),
        Snippet(title="curl", language="sh", text=curl(base_url, model)),
        Snippet(title="Python", language="python", text=python(base_url, model)),
    ]


def opencode(base_url: str, models: Iterable[ListedModel]) -> str:
    """OpenCode's configuration. It lists every model, because OpenCode does not fetch them."""
    listed = {name: described for model in models for name, described in _entries(model)}
    options = {"baseURL": base_url, "apiKey": f"{{env:{VARIABLE}}}"}
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "OpenCode Web",
        "options": options,
        "models": listed,
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "provider": {"opencode-web": provider},
    }
    return json.dumps(config, indent=2, ensure_ascii=False)


def _entries(model: ListedModel) -> Iterable[tuple[str, dict[str, Any]]]:
    described = describe_model(model.facts)
    yield model.id, described
    if model.alias:
        yield model.alias, described | {"name": f"{model.facts.name} ({model.alias})"}


def claude_code(base_url: str, model: str) -> str:
    """Claude Code's environment and command. It adds `/v1` to the address by itself, and uses the
    small model for titles."""
    name = shlex.quote(model)
    return (
        f"export ANTHROPIC_BASE_URL={base_url.removesuffix('/v1')}\n"
        f'export ANTHROPIC_AUTH_TOKEN="${VARIABLE}"\n'
        f"export ANTHROPIC_DEFAULT_HAIKU_MODEL={name}\n"
        f"claude --model {name}"
    )


def codex(base_url: str, model: str) -> str:
    """Codex's configuration, for its home folder."""
    return f"""\
model = {json.dumps(model)}
model_provider = "opencode-web"

[model_providers.opencode-web]
name = "OpenCode Web"
base_url = {json.dumps(base_url)}
wire_api = "responses"
env_key = "{VARIABLE}\""""


def curl(base_url: str, model: str) -> str:
    """One request on the command line."""
    return (
        f"curl {base_url}/chat/completions \\\n"
        f'  -H "Authorization: Bearer ${VARIABLE}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps({'model': model, 'messages': HELLO}))}"
    )


def python(base_url: str, model: str) -> str:
    """The same request with the `openai` package."""
    return f"""\
import os

from openai import OpenAI

client = OpenAI(base_url={json.dumps(base_url)}, api_key=os.environ.get("{VARIABLE}"))
answer = client.chat.completions.create(
    model={json.dumps(model)},
    messages={json.dumps(HELLO)},
)
print(answer.choices[0].message.content)"""
