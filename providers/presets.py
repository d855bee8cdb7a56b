"""Known vendors as rows of data: what a form is filled with, and what each one needs or forbids.

A preset never decides anything at run time that its row does not say; an unknown slug is `custom`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from providers.types import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One vendor. `first_token` overrides the time-out, in seconds, where the vendor thinks long.

    `concurrency` is how many calls at once its keys allow, where that is known to be few.
    `litellm_prefix` is what LiteLLM calls the wire format (`openai/<model>` with our base URL);
    `catalogue` is the vendor's id in the offline catalogue, empty where it has none;
    `probe_chat_allowed` is false where the vendor's terms forbid synthetic chats.
    """

    slug: str
    name: str
    hint: str
    base_url: str
    kind: Kind = Kind.OPENAI
    provider_type: str = "hybrid"
    routing_method: str = "auto"
    prefer_direct: bool = True
    fallback_enabled: bool = True
    needs_key: bool = True
    key_hint: str = ""
    key_url: str = ""
    docs_url: str = ""
    litellm_prefix: str = "openai"
    catalogue: str = ""
    first_token: float | None = None
    concurrency: int | None = None
    health_check_interval: int = 60
    probe_chat_allowed: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


CUSTOM = Preset(
    slug="custom",
    name="Other",
    hint="Anything that speaks OpenAI's or Anthropic's format",
    base_url="",
    needs_key=False,
)

# GLM may think for half a minute before its first token.
_ZAI_FIRST_TOKEN = 90.0

PRESETS: tuple[Preset, ...] = (
    Preset(
        slug="openai",
        name="OpenAI",
        hint="GPT models",
        base_url="https://api.openai.com/v1",
        key_hint="Begins with sk-",
        key_url="https://platform.openai.com/api-keys",
        docs_url="https://platform.openai.com/docs",
        catalogue="openai",
    ),
    Preset(
        slug="anthropic",
        name="Anthropic",
        hint="Claude models",
        base_url="https://api.anthropic.com/v1",
        kind=Kind.ANTHROPIC,
        key_hint="Begins with sk-ant-",
        key_url="https://console.anthropic.com/settings/keys",
        docs_url="https://docs.anthropic.com",
        litellm_prefix="anthropic",
        catalogue="anthropic",
    ),
    Preset(
        slug="zai-coding",
        name="Z.ai Coding Plan",
        hint="GLM models on the subscription",
        base_url="https://api.z.ai/api/coding/paas/v4",
        # The gateway first, as this plan is known to be unreliable when called directly.
        routing_method="gateway",
        prefer_direct=False,
        key_hint="The Coding Plan's own key; a pay-as-you-go key does not work here",
        key_url="https://z.ai/manage-apikey/apikey-list",
        docs_url="https://docs.z.ai/devpack/overview",
        catalogue="zai-coding-plan",
        first_token=_ZAI_FIRST_TOKEN,
        concurrency=1,
        health_check_interval=30,
        probe_chat_allowed=False,
    ),
    Preset(
        slug="zai",
        name="Z.ai",
        hint="GLM models, pay as you go",
        base_url="https://api.z.ai/api/paas/v4",
        key_hint="A pay-as-you-go key; a Coding Plan key does not work here",
        key_url="https://z.ai/manage-apikey/apikey-list",
        docs_url="https://docs.z.ai",
        catalogue="zai",
        first_token=_ZAI_FIRST_TOKEN,
    ),
    Preset(
        slug="openrouter",
        name="OpenRouter",
        hint="Hundreds of models behind one key",
        base_url="https://openrouter.ai/api/v1",
        key_hint="Begins with sk-or-",
        key_url="https://openrouter.ai/settings/keys",
        docs_url="https://openrouter.ai/docs",
        catalogue="openrouter",
    ),
    Preset(
        slug="deepseek",
        name="DeepSeek",
        hint="DeepSeek chat and reasoning models",
        base_url="https://api.deepseek.com/v1",
        key_hint="Begins with sk-",
        key_url="https://platform.deepseek.com/api_keys",
        docs_url="https://api-docs.deepseek.com",
        catalogue="deepseek",
        first_token=60.0,
    ),
    Preset(
        slug="groq",
        name="Groq",
        hint="Open models, very fast",
        base_url="https://api.groq.com/openai/v1",
        key_hint="Begins with gsk_",
        key_url="https://console.groq.com/keys",
        docs_url="https://console.groq.com/docs",
        catalogue="groq",
    ),
    Preset(
        slug="mistral",
        name="Mistral",
        hint="Mistral and Codestral models",
        base_url="https://api.mistral.ai/v1",
        key_url="https://console.mistral.ai/api-keys",
        docs_url="https://docs.mistral.ai",
        catalogue="mistral",
    ),
    Preset(
        slug="gemini",
        name="Google Gemini",
        hint="Gemini over its OpenAI-compatible address",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_hint="Begins with AIza",
        key_url="https://aistudio.google.com/apikey",
        docs_url="https://ai.google.dev/gemini-api/docs/openai",
        catalogue="google",
    ),
    Preset(
        slug="ollama",
        name="Ollama",
        hint="Models on this machine",
        base_url="http://localhost:11434/v1",
        needs_key=False,
        docs_url="https://docs.ollama.com",
        first_token=120.0,  # the first answer waits until the model is loaded
    ),
    Preset(
        slug="lm-studio",
        name="LM Studio",
        hint="Models on this machine",
        base_url="http://localhost:1234/v1",
        needs_key=False,
        docs_url="https://lmstudio.ai/docs/developer",
        first_token=120.0,
    ),
    Preset(
        slug="vllm",
        name="vLLM",
        hint="Your own inference server",
        base_url="http://localhost:8000/v1",
        needs_key=False,
        docs_url="https://docs.vllm.ai",
    ),
    Preset(
        slug="litellm",
        name="LiteLLM proxy",
        hint="A LiteLLM proxy and every model behind it",
        base_url="http://localhost:4000/v1",
        needs_key=False,
        key_hint="The proxy's master key or a virtual key",
        docs_url="https://docs.litellm.ai",
    ),
    CUSTOM,
)

_BY_SLUG = {preset.slug: preset for preset in PRESETS}


def get(slug: str) -> Preset:
    """The preset of a slug; `custom` for one that is not known."""
    return _BY_SLUG.get(slug, CUSTOM)


def known(slug: str) -> bool:
    return slug in _BY_SLUG
