"""`GET /v1/models`, in OpenAI's format or in Anthropic's. `endpoint` is its entry."""
