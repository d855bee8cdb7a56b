"""The environment, typed: every variable the program reads, or one sentence on why it cannot start.

A variable `NAME` may also be given as `NAME_FILE`, the path of a file that holds the value (the
convention of container secrets). Nothing outside this module reads `os.environ`.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography.fernet import Fernet
from pydantic import DirectoryPath, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from opencode_web.env_files import EnvironmentInvalid as EnvironmentInvalid
from opencode_web.env_files import FileSource
from providers.domain.tuning import RULES, Rules


def default_home() -> Path:
    """The data folder where OPENCODE_WEB_HOME is not set (XDG Base Directory Specification 0.8)."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "opencode-web"


def provider_key(name: str) -> str:
    """The key of a provider that people keep in a variable of their own, such as ZAI_API_KEY;
    empty where it is not set or its file cannot be read."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
    return os.environ.get(name, "").strip()


Words = Annotated[list[str], NoDecode]


class Environment(BaseSettings):
    """All variables, with their defaults. `examples` is what an error message shows."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    secret_key: SecretStr = Field(
        min_length=32,
        description="Signs sessions and links. `./dev up` makes one and keeps it.",
        examples=["a random text of 50 characters"],
    )
    encryption_keys: Annotated[list[SecretStr], NoDecode] = Field(
        min_length=1,
        description="Fernet keys for stored provider keys, comma separated; the first encrypts,"
        " the others still decrypt until `manage.py rotate_keys` has encrypted everything again."
        " `./dev up` makes one and keeps it.",
        examples=["the output of `./dev manage generate_key`"],
    )
    accept_lost_keys: bool = Field(
        default=False,
        description="Start although stored provider keys cannot be decrypted, for example after"
        " ENCRYPTION_KEYS was lost. Providers are not called until their keys are"
        " entered again.",
        examples=["true"],
    )
    database_url: SecretStr = Field(
        description="PostgreSQL. If it is not set, `./dev up` starts a server.",
        examples=["postgresql://user:password@db.example:5432/opencode_web"],
    )
    redis_url: SecretStr = Field(
        description="Redis or Valkey. If it is not set, `./dev up` starts a server.",
        examples=["redis://cache.example:6379/0"],
    )
    redis_patience: float = Field(
        default=0.05,
        gt=0,
        le=5,
        description="Seconds that a request waits for Redis before it continues without it. A"
        " request with an `Idempotency-Key` waits one second.",
        examples=["0.05"],
    )
    opencode_web_home: Path = Field(
        default_factory=default_home,
        description="The folder of everything `./dev up` stores; run by root, PostgreSQL's part"
        " of it may be a link.",
        examples=["/srv/opencode-web"],
    )
    public_url: str = Field(
        default="http://127.0.0.1:8000",
        pattern=r"^https?://[^/\s]+$",
        description="The public address, without a path. https enables secure cookies and HSTS.",
        examples=["https://chat.example.com"],
    )
    allowed_hosts: Words = Field(
        default=[],
        description="Host names of the site, comma separated, in addition to those of PUBLIC_URL"
        " and of this machine.",
        examples=["chat.example.com,chat.internal"],
    )
    trust_proxy: bool = Field(
        default=False,
        description="Trust X-Forwarded-Proto and X-Forwarded-For, which your proxy must set.",
        examples=["true"],
    )
    debug: bool = Field(
        default=False,
        description="Enable Django's debug pages. Never use it on a public site.",
        examples=["false"],
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Minimum level of the log lines.", examples=["WARNING"]
    )
    database_pool: int = Field(
        default=10,
        ge=2,
        le=200,
        description="Maximum number of database connections of one process.",
        examples=["10"],
    )
    litellm_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        description="The LiteLLM proxy for providers without a gateway of their own. Without it"
        " the gateway process is used.",
        examples=["http://litellm.example:4000"],
    )
    litellm_api_key: SecretStr | None = Field(
        default=None,
        description="The key for LITELLM_ENDPOINT. It is sent to no other address.",
        examples=["sk-..."],
    )
    gateway_url: str = Field(
        default="http://127.0.0.1:8001",
        pattern=r"^https?://[^\s]+$",
        description="Where the gateway process listens.",
        examples=["http://127.0.0.1:8001"],
    )
    gateway_token: SecretStr = Field(
        default=SecretStr(""),
        description="The token that web and runner send to the gateway process. `./dev up` makes"
        " a new one at each start; if empty, the gateway process is not used.",
        examples=["a random text of 32 characters"],
    )
    allow_private_addresses: bool = Field(
        default=True,
        description="Allow providers on private and loopback addresses (Ollama, a proxy in the"
        " same network). Link-local addresses, where clouds keep metadata, are never"
        " allowed.",
        examples=["false"],
    )
    timeout_connect: float = Field(
        default=5, gt=0, le=60, description="Seconds to connect to a provider.", examples=["5"]
    )
    timeout_first_token: float = Field(
        default=10,
        gt=0,
        le=600,
        description="Seconds to the first token while another route is left.",
        examples=["10"],
    )
    timeout_first_token_last: float = Field(
        default=60,
        gt=0,
        le=600,
        description="Seconds to the first token on the last route.",
        examples=["60"],
    )
    timeout_silence: float = Field(
        default=45,
        gt=0,
        le=600,
        description="Seconds without content in the middle of an answer.",
        examples=["45"],
    )
    timeout_whole: float = Field(
        default=300,
        gt=0,
        le=7200,
        description="Seconds for a non-streaming answer over one route.",
        examples=["300"],
    )
    timeout_total: float = Field(
        default=600,
        gt=0,
        le=7200,
        description="Seconds for one request, all attempts together.",
        examples=["600"],
    )
    stop_pause: float = Field(
        default=1,
        ge=0,
        le=120,
        description="Seconds for which the web process serves requests after SIGTERM, while"
        " /readyz returns 503. Set it longer than the check interval of your load"
        " balancer.",
        examples=["10"],
    )
    stop_drain: float = Field(
        default=15,
        gt=0,
        le=3600,
        description="Seconds for open answers to end after that pause.",
        examples=["60"],
    )
    routing_rules: Rules = Field(
        default=RULES,
        description="Changes to the numbers of the routing, as JSON. Names and reasons are in"
        " providers/domain/tuning.py.",
        examples=['{"failures_to_open": 3, "rests": [2, 4, 8]}'],
    )
    routing_fresh: int = Field(
        default=24 * 3600,
        ge=60,
        description="Seconds for which a learned method comes first.",
        examples=["86400"],
    )
    models_fresh: int = Field(
        default=3600,
        ge=60,
        description="Seconds until a provider's list of models is read again.",
        examples=["3600"],
    )
    idempotency_keep: int = Field(
        default=600,
        ge=0,
        le=24 * 3600,
        description="Seconds for which a repeated `Idempotency-Key` gets the same answer again."
        " Answers are kept in Redis for this time.",
        examples=["600"],
    )
    gateway_sdk: bool | None = Field(
        default=None,
        description="Pins the flag: whether the gateway process is a route to each provider.",
        examples=["false"],
    )
    smart_routing: bool | None = Field(
        default=None,
        description="Pins the flag: whether new providers use automatic routing or are legacy.",
        examples=["false"],
    )
    chat_probes: bool | None = Field(
        default=None,
        description="Pins the flag: whether health checks may send a short chat to providers that"
        " have the chat probe enabled.",
        examples=["false"],
    )
    emergency_answers: bool | None = Field(
        default=None,
        description="Pins the flag: if every route fails, return a cached answer to the identical"
        " request of the same person or key, marked with its age. Answers are then"
        " kept in Redis for a day, encrypted with ENCRYPTION_KEYS.",
        examples=["true"],
    )
    store_responses: bool | None = Field(
        default=None, description="Pins the flag: whether responses are stored.", examples=["false"]
    )
    api_keep_alive: float = Field(
        default=10,
        gt=0,
        le=600,
        description="Seconds of silence after which a stream of `/v1` gets a keep-alive comment."
        " Later failures are events in the stream.",
        examples=["10"],
    )
    api_largest_body: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Maximum size of one request to `/v1` in MB, images included.",
        examples=["32"],
    )
    api_bodies: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Maximum size of all unfinished requests to `/v1` in MB. One key may use half"
        " of it.",
        examples=["256"],
    )
    runner_concurrency: int = Field(
        default=256,
        ge=1,
        le=5000,
        description="Maximum number of answers that one runner process writes at the same time.",
        examples=["256"],
    )

    keep_attempts: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which attempts of chats, requests and tests are kept.",
        examples=["30"],
    )
    keep_probes: int = Field(
        default=2,
        ge=1,
        le=3650,
        description="Days for which attempts of health checks are kept.",
        examples=["2"],
    )
    keep_rollups: int = Field(
        default=400,
        ge=1,
        le=3650,
        description="Days for which the hourly roll-ups of the status page are kept.",
        examples=["400"],
    )
    keep_incidents: int = Field(
        default=400,
        ge=1,
        le=3650,
        description="Days for which closed incidents are kept.",
        examples=["400"],
    )
    keep_responses: int = Field(
        default=30, ge=1, description="Days that responses are stored.", examples=["30"]
    )
    keep_removed: int = Field(
        default=7,
        ge=1,
        le=365,
        description="Days for which you can restore a removed provider.",
        examples=["7"],
    )

    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="The bearer token required to read `/metrics`. Without it only this machine"
        " can read them.",
        examples=["a random text of 32 characters"],
    )
    prometheus_multiproc_dir: DirectoryPath | None = Field(
        default=None,
        description="An existing folder in which the processes of this machine count together."
        " Empty it before they start. `./dev up` does both.",
        examples=["/run/opencode-web/metrics"],
    )

    @field_validator("allowed_hosts", "encryption_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _are_fernet_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        for number, key in enumerate(keys, start=1):
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError(f"key {number} is not a Fernet key") from None
        return keys

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("the address must begin with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("the address must begin with redis://, rediss:// or unix://")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSource(settings_cls)


def read() -> Environment:
    """The environment of this process; raises EnvironmentInvalid with a sentence per variable."""
    try:
        return Environment()
    except ValidationError as exc:
        raise EnvironmentInvalid("\n".join(_sentence(error) for error in exc.errors())) from None


def _sentence(error: Any) -> str:
    """Names the variable, the problem and an example; never the value, which may be a secret."""
    field = str(error["loc"][0])
    examples = Environment.model_fields[field].examples or [""]
    problem = "is not set" if error["type"] == "missing" else f"is wrong: {error['msg']}"
    return f"{field.upper()} {problem}. Example: {field.upper()}={examples[0]}"
