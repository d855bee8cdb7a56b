"""What is offered in the place of a name that nobody has."""

import time

import pytest

from api.model_resolver import similar_names

NAMES = ["zai/glm-4.7", "zai/glm-4.5-air", "acme/gpt-4o", "acme/gpt-4o-mini", "or/z-ai/glm-4.7"]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("glm-47", "zai/glm-4.7"),
        ("zai/glm4.7", "zai/glm-4.7"),
        ("GPT-4o", "acme/gpt-4o"),
        ("gpt-4o-mni", "acme/gpt-4o-mini"),
        ("openai/gpt-4o", "acme/gpt-4o"),
        ("acme/glm-4.5-air", "zai/glm-4.5-air"),
    ],
)
def test_the_best_suggestion_comes_first(asked: str, first: str) -> None:
    """A slip, another spelling, the wrong provider."""
    assert similar_names(asked, NAMES)[0] == first


def test_nothing_is_offered_for_what_is_like_nothing() -> None:
    """A wrong guess helps less than none."""
    assert similar_names("dall-e", NAMES) == []
    assert similar_names("", NAMES) == []


def test_a_large_catalogue_delays_no_request() -> None:
    """Whoever asks for what is not there must not hold up the others' streams."""
    names = [f"provider-{n % 40}/some-vendor/model-{n}-instruct" for n in range(20_000)]
    began = time.process_time()
    similar_names("some-vendor/modell-17-instruct", names)
    assert time.process_time() - began < 1
