"""Vercel's AI SDK, whose `openai()` asks for Responses by default, in a loop with a tool."""

import json
import os
import subprocess
from pathlib import Path

from providers.models import Provider
from tests import fakes
from tests.api.conftest import Door
from tests.clients import ai_sdk
from tests.upstreams.plans import TOOL

SCRIPT = """
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "%(ai)s/dist/index.js";
import { createOpenAI } from "%(openai)s/dist/index.js";
const openai = createOpenAI({ baseURL: process.env.URL, apiKey: process.env.KEY });
const inputSchema = jsonSchema({ type: "object" });
const execute = async (given) => `4 in ${given.city}`;
const tools = { get_weather: tool({ inputSchema, execute }) };
const asked = { model: openai("acme/echo"), prompt: "Hello there, café" };
const looped = await generateText({ ...asked, tools, stopWhen: stepCountIs(3) });
const streamed = streamText(asked);
let text = "";
for await (const piece of streamed.textStream) text += piece;
console.log(JSON.stringify({ steps: looped.steps.length, looped: looped.text, text }));
"""


def test_a_loop_with_a_tool_and_a_stream(
    door: Door, acme: Provider, fake: fakes.Upstream, tmp_path: Path
) -> None:
    """The second request names the stored items of the first answer by their ids."""
    ai, openai = ai_sdk()
    script = tmp_path / "loop.mjs"
    script.write_text(SCRIPT % {"ai": ai, "openai": openai})
    fake.script("tools", "echo")
    done = subprocess.run(
        ["node", str(script)],
        env={"PATH": os.environ["PATH"], "URL": door.url, "KEY": door.secret},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "steps": 2,
        "looped": "Hello there, café",
        "text": "Hello there, café",
    }
    roles = [message["role"] for message in fake.requests[-2].body["messages"]]
    assert roles == ["user", "assistant", "tool"]
    assert fake.requests[-2].body["messages"][1]["tool_calls"][0]["id"] == TOOL[0]
    assert "Reykjavík" in fake.requests[-2].body["messages"][2]["content"]
