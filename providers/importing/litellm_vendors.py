"""What LiteLLM calls its vendors, and how each is reached from here: data, and no decision. No I/O.

Source: LiteLLM's `LlmProviders` and `openai_compatible_providers` (litellm 1.106.2); a test holds
this table against the installed version.
"""

import re
from collections.abc import Mapping

# Vendors that we speak to directly, by our preset.
PRESETS: Mapping[str, str] = {
    **{name: name for name in ("openai", "anthropic", "zai", "openrouter", "deepseek", "groq")},
    **{name: name for name in ("mistral", "gemini", "xai", "moonshot", "ollama")},
    "ollama_chat": "ollama",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "lm_studio": "lm-studio",
    "hosted_vllm": "vllm",
    "vllm": "vllm",
    "llamafile": "llama-cpp",
    "litellm_proxy": "litellm",
    # From the offline catalogue.
    "baseten": "baseten",
    "chutes": "chutes",
    "clarifai": "clarifai",
    "cortecs": "cortecs",
    "dashscope": "alibaba",
    "friendliai": "friendli",
    "gradient_ai": "digitalocean",
    "inception": "inception",
    "meta_llama": "llama",
    "modelscope": "modelscope",
    "morph": "morph",
    "nano-gpt": "nano-gpt",
    "nebius": "nebius",
    "novita": "novita-ai",
    "nvidia_nim": "nvidia",
    "ovhcloud": "ovhcloud",
    "poe": "poe",
    "scaleway": "scaleway",
    "synthetic": "synthetic",
    "wandb": "wandb",
}

# Prefixes behind which any server that speaks OpenAI's format may stand, where an address is given.
COMPATIBLE = frozenset(
    {
        *("openai", "openai_like", "custom_openai", "custom", "aiohttp_openai", "oobabooga"),
        *("xinference", "infinity", "docker_model_runner", "lemonade", "litellm_proxy"),
        *("hosted_vllm", "vllm", "llamafile", "lm_studio", "ollama", "ollama_chat"),
        *("openrouter", "deepseek", "groq", "mistral", "xai", "zai", "moonshot", "together_ai"),
        *("fireworks_ai", "baseten", "cerebras", "sambanova", "deepinfra", "perplexity"),
        *("nvidia_nim", "volcengine", "tencent", "galadriel", "empower", "friendliai", "novita"),
        *("github", "meta_llama", "publicai", "synthetic", "tensormesh", "apertis", "nano-gpt"),
        *("poe", "chutes", "parasail", "libertai", "featherless_ai", "nscale", "nebius"),
        *("dashscope", "qwencloud", "qwen_ai_platform", "modelscope", "v0", "helicone", "morph"),
        *("lambda_ai", "inception", "hyperbolic", "vercel_ai_gateway", "aiml", "edenai", "wandb"),
        *("cometapi", "clarifai", "ovhcloud", "scaleway", "xiaomi_mimo", "minimax", "ai21_chat"),
        *("gradient_ai", "heroku", "cortecs", "neosantara", "charity_engine", "reka", "sarvam"),
    }
)

# Vendors with a format or a way to sign in of their own: LiteLLM alone speaks to them.
LITELLM_ONLY = frozenset(
    {
        *("azure", "azure_ai", "azure_text", "bedrock", "bedrock_mantle", "bedrock_converse"),
        *("sagemaker", "sagemaker_chat", "sagemaker_nova", "vertex_ai", "vertex_ai_beta"),
        *("cohere", "cohere_chat", "watsonx", "watsonx_text", "databricks", "snowflake", "oci"),
        *("huggingface", "replicate", "predibase", "cloudflare", "ai21", "nlp_cloud", "petals"),
        *("triton", "anthropic_text", "text-completion-openai", "text-completion-codestral"),
        *("codestral", "text-completion-inception", "github_copilot", "chatgpt", "gigachat"),
        *("maritalk", "voyage", "jina_ai", "datarobot", "ragflow", "sap", "compactifai"),
        *("langgraph", "langflow", "a2a", "a2a_agent", "manus", "bytez", "amazon_nova", "gdc"),
        *("deepgram", "elevenlabs", "assemblyai", "aws_polly", "transcribe", "azure_speech"),
        *("soniox", "nvidia_riva", "fal_ai", "stability", "recraft", "topaz", "runwayml"),
        *("black_forest_labs", "reducto", "aws_textract", "milvus", "pg_vector", "s3_vectors"),
        *("valkey", "mongodb", "typesafe", "strands_decider", "nadir", "langfuse", "humanloop"),
        *("auto_router", "dotprompt", "pinstripes", "cognition", "scx-ai", "prism", "darkbloom"),
        *("meta", "sail", "litellm_agent", "cursor"),
    }
)
VENDORS = frozenset(PRESETS) | COMPATIBLE | LITELLM_ONLY

# Vendors for whom LiteLLM has models by itself: a wildcard means those.
TITLES: Mapping[str, str] = {
    "azure": "Azure OpenAI",
    "azure_ai": "Azure AI",
    "bedrock": "Amazon Bedrock",
    "vertex_ai": "Vertex AI",
    "vertex_ai_beta": "Vertex AI",
    "cohere": "Cohere",
    "cohere_chat": "Cohere",
    "watsonx": "IBM watsonx",
    "sagemaker": "Amazon SageMaker",
    "sagemaker_chat": "Amazon SageMaker",
    "huggingface": "Hugging Face",
    "oci": "Oracle Cloud",
}


def title(vendor: str) -> str:
    """A vendor's name as people write it."""
    return TITLES.get(vendor) or vendor.replace("_", " ").replace("-", " ").title()


# Parameters of a row that are sent to LiteLLM with every call: versions, regions, credentials.
# Everything else configures LiteLLM itself, and is reported.
_FORWARDED = frozenset(
    {
        *("api_version", "api_type", "organization", "region_name", "region", "location"),
        *("project", "project_id", "space_id", "deployment_id", "model_id", "base_model"),
        *("tenant_id", "client_id", "client_secret", "account_id", "endpoint_id", "token"),
        *("zen_api_key", "service_tier", "guardrailConfig", "performanceConfig", "extra_body"),
        *("extra_query", "ssl_verify", "use_chat_completions_api", "model_version", "user_project"),
    }
)
_FORWARDED_PREFIXES = re.compile(
    r"^(?:aws|azure|vertex|watsonx|wx|oci|sagemaker|bedrock|databricks|snowflake|hf|huggingface"
    r"|cohere|anthropic|gemini|gcs|s3)_\w+$"
)


def is_forwarded(name: str) -> bool:
    """Whether a parameter of a row is passed on to LiteLLM with every call."""
    return name in _FORWARDED or _FORWARDED_PREFIXES.match(name) is not None


# Chat parameters of a row, by OpenAI's names.
CHAT_PARAMETERS = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "frequency_penalty"),
    *("presence_penalty", "seed", "stop", "reasoning_effort", "thinking", "response_format"),
    *("logit_bias", "top_k", "parallel_tool_calls", "user", "n"),
)
