"""LiteLLM's Router on the trace: the other upstream is the preferred one's fallback.

Retries, allowed failures and the cooldown are its defaults; it waits as long for a first token as
the router beside it.
"""

import asyncio
import os
from typing import Any

from benchmarks import trace
from benchmarks.failover_client import arguments, replay

DEFAULT_COOLDOWN_SECONDS = 5  # litellm.constants.DEFAULT_COOLDOWN_TIME_SECONDS


async def main() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
    import litellm
    from litellm.router import Router

    litellm.suppress_debug_info = True
    preferred, other, began, scale, requests = arguments()
    router = Router(
        model_list=[_deployment("chat", preferred), _deployment("fallback", other)],
        fallbacks=[{"chat": ["fallback"]}],
        stream_timeout=trace.FIRST_TOKEN_SECONDS / scale,
        cooldown_time=DEFAULT_COOLDOWN_SECONDS / scale,
    )
    messages: Any = [{"role": "user", "content": "Say hello, please."}]

    async def send() -> str:
        text, finished = "", False
        chunks = await router.acompletion(model="chat", messages=messages, stream=True)
        async for chunk in chunks:
            text += chunk.choices[0].delta.content or ""
            finished = finished or bool(chunk.choices[0].finish_reason)
        if not text or not finished:
            raise RuntimeError("no answer")
        return text

    await replay(send, began, scale, requests)


def _deployment(name: str, port: int) -> dict[str, object]:
    target = {
        "model": "openai/m",
        "api_base": f"http://127.0.0.1:{port}/v1",
        "api_key": "sk-bench-0123456789",
    }
    return {"model_name": name, "litellm_params": target}


if __name__ == "__main__":
    asyncio.run(main())
