"""Pages are compressed on the wire; streams are not, and lengths say little."""

import gzip

from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory

from opencode_web.middleware import CompressionMiddleware

GZIP = {"Accept-Encoding": "gzip"}


def test_a_page_is_compressed_for_who_takes_it(owner_client: Client, owner: User) -> None:
    """A third of the bytes or less; the same page."""
    plain = owner_client.get("/chat/new/")
    small = owner_client.get("/chat/new/", headers=GZIP)
    assert small["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain
    assert len(small.content) < len(plain.content) / 2
    assert b"</html>" in gzip.decompress(small.content)
    assert "Accept-Encoding" in small["Vary"]


def test_the_same_page_has_many_lengths(owner_client: Client, owner: User) -> None:
    """What is in it cannot be guessed by adding letters to an address."""
    lengths = {len(owner_client.get("/chat/new/", headers=GZIP).content) for _ in range(12)}
    assert len(lengths) > 3


def test_a_stream_goes_out_as_it_comes() -> None:
    """Events are not held back until there are enough of them."""
    stream = StreamingHttpResponse(iter([b"x" * 500]), content_type="text/event-stream")
    request = RequestFactory().get("/", headers=GZIP)
    assert CompressionMiddleware(lambda _: stream)(request) is stream
    assert "Content-Encoding" not in stream
