"""What is copied from the Connect page, as text; `test_pasted.py` runs it."""

import ast
import json
import shlex
import tomllib
from decimal import Decimal

from api.connect.snippets import codex, curl, make_snippets, python
from providers.domain.types import DiscoveredModel
from providers.protocols.opencode_config import ListedModel, write_config

URL = "https://chat.example.com/v1"
GLM = ListedModel(
    id="zai/glm-4.7",
    alias="glm",
    facts=DiscoveredModel(
        model_id="glm-4.7",
        name="GLM-4.7",
        context=204800,
        output_limit=131072,
        vision=False,
        tools=True,
        reasoning=True,
        takes=("temperature",),
        input_price=Decimal("0.6"),
        output_price=Decimal("2.2"),
    ),
)
TINY = ListedModel(
    id='local/it\'s "tiny"',
    facts=DiscoveredModel(model_id="tiny", name="Tiny", context=4096, vision=True),
)


def test_opencode_gets_the_address_and_every_model() -> None:
    """Under each of its names, with all that is known of it; nothing unknown is denied."""
    config = json.loads(write_config(URL, [GLM, TINY]))
    provider = config["provider"]["opencode-web"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"] == {"baseURL": URL, "apiKey": "{env:OPENCODE_WEB_KEY}"}
    glm = {
        "name": "GLM-4.7",
        "attachment": False,
        "reasoning": True,
        "temperature": True,
        "tool_call": True,
        "modalities": {"input": ["text"], "output": ["text"]},
        "limit": {"context": 204800, "output": 131072},
        "cost": {"input": 0.6, "output": 2.2},
    }
    assert provider["models"] == {
        "zai/glm-4.7": glm,
        "glm": glm | {"name": "GLM-4.7 (glm)"},
        'local/it\'s "tiny"': {
            "name": "Tiny",
            "attachment": True,
            "modalities": {"input": ["text", "image"], "output": ["text"]},
            "limit": {"context": 4096, "output": 0},
        },
    }


def test_the_shell_reads_one_command() -> None:
    """Any name of a model is one word."""
    words = shlex.split(curl(URL, TINY.id))
    assert words[:2] == ["curl", f"{URL}/chat/completions"]
    assert json.loads(words[-1])["model"] == TINY.id


def test_python_parses() -> None:
    """The model's name is one literal."""
    nodes = ast.walk(ast.parse(python(URL, TINY.id)))
    literals = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assert TINY.id in literals
    assert URL in literals


def test_uses_a_placeholder_without_models() -> None:
    """An instance without providers has the page too."""
    assert all("provider/model" in snippet.text for snippet in make_snippets(URL, [])[2:])


def test_codex_gets_the_address_and_a_model_as_toml() -> None:
    """Whatever the model is called."""
    config = tomllib.loads(codex(URL, TINY.id))
    assert (config["model"], config["model_provider"]) == (TINY.id, "opencode-web")
    assert config["model_providers"]["opencode-web"] == {
        "name": "OpenCode Web",
        "base_url": URL,
        "wire_api": "responses",
        "env_key": "OPENCODE_WEB_KEY",
    }
