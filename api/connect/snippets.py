"""Client configurations to copy: OpenCode, Claude Code, Codex, curl, Python. No I/O.

None contains a key: each reads it from the environment.
"""

import json
import shlex
from collections.abc import Iterable

from providers.domain.frozen import frozen
from providers.protocols.opencode_config import KEY_VARIABLE, ListedModel, write_config

HELLO = [{"role": "user", "content": "Hello"}]


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
        Snippet(title="OpenCode, without a key", language="sh", text=opencode_login(base_url)),
        Snippet(title="opencode.json", language="json", text=write_config(base_url, listed)),
        Snippet(title="Claude Code", language="sh", text=claude_code(base_url, model)),
        Snippet(title="Codex: ~/.codex/config.toml", language="toml", text=codex(base_url, model)),
        Snippet(title="curl", language="sh", text=curl(base_url, model)),
        Snippet(title="Python", language="python", text=python(base_url, model)),
    ]


def opencode_login(base_url: str) -> str:
    """The one command that signs OpenCode in and keeps its list of models current."""
    return f"opencode auth login {base_url.removesuffix('/v1')}"


def claude_code(base_url: str, model: str) -> str:
    """Claude Code's environment and command. It adds `/v1` to the address by itself, and uses the
    small model for titles."""
    name = shlex.quote(model)
    return (
        f"export ANTHROPIC_BASE_URL={base_url.removesuffix('/v1')}\n"
        f'export ANTHROPIC_AUTH_TOKEN="${KEY_VARIABLE}"\n'
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
env_key = "{KEY_VARIABLE}\""""


def curl(base_url: str, model: str) -> str:
    """One request on the command line."""
    return (
        f"curl {base_url}/chat/completions \\\n"
        f'  -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps({'model': model, 'messages': HELLO}))}"
    )


def python(base_url: str, model: str) -> str:
    """The same request with the `openai` package."""
    return f"""\
import os

from openai import OpenAI

client = OpenAI(base_url={json.dumps(base_url)}, api_key=os.environ.get("{KEY_VARIABLE}"))
answer = client.chat.completions.create(
    model={json.dumps(model)},
    messages={json.dumps(HELLO)},
)
print(answer.choices[0].message.content)"""
