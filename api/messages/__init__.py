"""`POST /v1/messages`, in Anthropic's format. `endpoint` is its entry."""
