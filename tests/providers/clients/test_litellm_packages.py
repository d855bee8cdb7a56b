"""What LiteLLM imports in the middle of a call is installed, wherever the program is."""

import json
import subprocess
from typing import Any

import pytest

from tests import fakes
from tests.programs import PYTHON

# Calls LiteLLM in every way a client can ask for, with the arguments of the gateway process.
CALLS = """
import ast, asyncio, importlib.util, json, pathlib, sys
import django
django.setup()
from providers.clients.litellm_server import STREAMED, _arguments, sdk

BASE, KEY = sys.argv[1:]
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" \
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEXT = [{"role": "user", "content": "hello"}]
SHOWN = [{"role": "user", "content": [
    {"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": PICTURE}}]}]
CALLED = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
RESULT = [*TEXT, {"role": "assistant", "tool_calls": [CALLED]},
          {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "ls", "parameters": SCHEMA}}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
BODIES = {
    "chat": {"messages": TEXT},
    "tools": {"messages": TEXT, "tools": TOOLS, "tool_choice": "auto"},
    "MCP tools": {"messages": TEXT, "tools": [{"type": "mcp", "server_url": "litellm_proxy"}]},
    "results of tools": {"messages": RESULT, "tools": TOOLS},
    "JSON": {"messages": TEXT, "response_format": {"type": "json_object"}},
    "JSON schema": {"messages": TEXT, "response_format": FORMAT},
    "pictures": {"messages": SHOWN},
    "reasoning": {"messages": TEXT, "reasoning_effort": "low"},
}

async def call(made, problems, name):
    try:
        answer = await made
        if hasattr(answer, "__aiter__"):
            async for _ in answer:
                pass
    except Exception as exc:
        problems[name] = " <- ".join(describe(exc))

def describe(exc):
    while exc is not None:
        yield f"{type(exc).__name__}: {exc}"[:300]
        exc = exc.__cause__ or exc.__context__

async def main():
    problems = {}
    await sdk.load()
    litellm = sdk.module
    for prefix in ("openai", "anthropic", "deepseek", "gemini"):
        upstream = {"litellm_model": f"{prefix}/echo", "base_url": BASE, "api_key": KEY}
        for name, body in BODIES.items():
            for more in ({}, STREAMED):
                given = _arguments({**body, "upstream": upstream}, sdk.shared_session)
                made = litellm.acompletion(**given, **more)
                await call(made, problems, f"{prefix}: {name}{', streamed' if more else ''}")
    given = {"api_base": BASE, "api_key": KEY, "max_retries": 0}
    for name, made in {
        "images": litellm.aimage_generation(model="openai/dall-e-3", prompt="a cat", **given),
        "embeddings": litellm.aembedding(model="openai/e", input=["hello"], **given),
        "responses": litellm.aresponses(model="openai/r", input="hello", **given),
        "responses with tools": litellm.aresponses(
            model="openai/r", input="hello", tools=[{"type": "function", "name": "ls"}],
            _skip_mcp_handler=True, **given),
        "responses over chat": litellm.aresponses(model="deepseek/r", input="hello", **given),
    }.items():
        await call(made, problems, name)
    await sdk.close()
    print(json.dumps([problems, find_missing()]))

def find_missing():
    found = {}
    for name, module in sorted(sys.modules.items()):
        if name.split(".")[0] == "litellm" and not name.startswith(LEFT_OUT):
            for function, package in late_imports(module):
                if not is_there(package):
                    found.setdefault(package, []).append(f"{name}.{function}")
    return found

# Each is reached only by what the gateway process has switched off, or does not offer.
LEFT_OUT = ("litellm.integrations", "litellm.caching", "litellm.proxy", "litellm.router",
            "litellm.realtime", "litellm.rag", "litellm.secret_managers", "litellm.harness")

def late_imports(module):
    path = getattr(module, "__file__", None) or ""
    tree = ast.parse(pathlib.Path(path).read_text() if path.endswith(".py") else "")
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    yield from ((function.name, each.name.split(".")[0]) for each in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    yield function.name, node.module.split(".")[0]

def is_there(package):
    return package in sys.modules or importlib.util.find_spec(package) is not None

asyncio.run(main())
"""


# What LiteLLM may import and an installation lacks, and why no call of ours comes there.
NOT_NEEDED = {
    **dict.fromkeys(("soundfile", "riva", "audioread", "soxr", "scipy"), "speech"),
    **dict.fromkeys(("websockets", "aws_sdk_bedrock_runtime"), "calls over web sockets"),
    **dict.fromkeys(("smithy_aws_core", "smithy_http"), "calls over web sockets"),
    **dict.fromkeys(("sentry_sdk", "slack_bolt", "litellm_enterprise"), "callbacks: none is set"),
    **dict.fromkeys(("prisma", "fastapi", "keyring"), "LiteLLM's own proxy and command line"),
    **dict.fromkeys(("petals", "transformers", "vllm"), "models inside the process"),
    **dict.fromkeys(("azure", "databricks"), "sign-in without a key: a provider has one"),
    **dict.fromkeys(("google", "vertexai", "proto"), "Vertex AI: no provider passes credentials"),
    "PIL": "pictures by address for old Gemini models",
    "pypdf": "counting tokens of a PDF, which goes on without",
    "numpy": "token counts as arrays, and speech",
    "tenacity": "LiteLLM's own retries, which are off",
    "numpydoc": "tools from Python functions",
}


@pytest.fixture(scope="module")
def result() -> tuple[dict[str, str], dict[str, list[str]]]:
    """The problems by call, and the missing packages with the functions that import them."""
    with fakes.Upstream() as fake:
        done = subprocess.run(
            [PYTHON, "-c", CALLS, fake.url, fakes.KEY],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    problems, missing = json.loads(done.stdout.splitlines()[-1])
    return problems, missing


def test_no_call_misses_a_package(result: tuple[dict[str, str], Any]) -> None:
    """Chats succeed; calls that the fake upstream does not know come as far as its 404."""
    problems = result[0]
    failed = {name: text for name, text in problems.items() if "404: Not Found" not in text}
    assert set(failed) <= {"anthropic: MCP tools", "anthropic: MCP tools, streamed"}
    assert not any("No module" in text for text in problems.values())


def test_every_late_import_of_litellm_is_installed_or_not_needed(result: tuple[Any, Any]) -> None:
    """Of all modules that the calls have loaded."""
    missing = result[1]
    assert missing.keys() <= NOT_NEEDED.keys(), missing
