"""`POST /v1/chat/completions`, in OpenAI's format. `endpoint` is its entry."""
