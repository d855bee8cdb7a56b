"""What a request needs of a model: room for its tokens, and abilities. A value."""

from providers.domain.frozen import frozen


@frozen
class RequestNeeds:
    """`input_tokens` are estimated; `output_tokens` are those the caller asks for at most."""

    input_tokens: int = 0
    output_tokens: int = 0
    vision: bool = False
    tools: bool = False
    json_output: bool = False

    @property
    def tokens(self) -> int:
        """What must fit into a model's context."""
        return self.input_tokens + self.output_tokens
