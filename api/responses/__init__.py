"""`/v1/responses`, in OpenAI's Responses format, and stored answers. `endpoint` is its entry."""
