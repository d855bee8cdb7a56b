"""`GET /v1/models`, in OpenAI's format. `endpoint` is its entry."""
