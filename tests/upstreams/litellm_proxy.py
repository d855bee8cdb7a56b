"""A real LiteLLM proxy, as an operator runs one: a configuration file and no database."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.upstreams.model_server import wait_until_up
from tests.upstreams.tethered import tethered

KEY = "sk-litellm-master-0123456789"


@dataclass
class Proxy:
    """The running proxy; `url` is its address without /v1. `models`: name -> (base URL, key)."""

    port: int
    folder: Path
    models: dict[str, tuple[str, str]]
    key: str = KEY
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        config = self.folder / "litellm.yaml"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        # Through Python: the script's own first line is bound to where it was installed.
        script = str(Path(sys.executable).parent / "litellm")
        command = [sys.executable, script, "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "1"]
        environment = {
            **os.environ,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
        }
        # The proxy would take ours for its own.
        for name in ("DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            tethered(command),
            env=environment,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until_up(f"{self.url}/health/liveliness", self.process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _config(self) -> dict[str, object]:
        rows = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": base, "api_key": key},
            }
            for name, (base, key) in self.models.items()
        ]
        return {
            "model_list": rows,
            "litellm_settings": {"num_retries": 0, "request_timeout": 60},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
            "general_settings": {"master_key": self.key},
        }
