"""A body passes byte for byte but for the model's name."""

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.domain.passed_body import PassedBody
from providers.protocols.model_name_spans import InvalidForm, cut_form, cut_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(
    before=st.dictionaries(st.text().filter(lambda name: name != "model"), JSON_VALUES),
    after=st.dictionaries(st.text().filter(lambda name: name != "model"), JSON_VALUES),
    model=st.text(),
    new=st.text(),
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
)
def test_only_the_name_changes(
    before: dict[str, object],
    after: dict[str, object],
    model: str,
    new: str,
    indent: int | None,
    ascii_only: bool,
) -> None:
    """Whatever the other fields, their order, their spacing and their spelling."""
    fields = {**before, "model": model, **after}
    text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only)
    text = text.encode("utf-8", "replace").decode()
    parts = cut_json(text)
    assert len(parts) == 2
    whole = parts[0] + text.encode()[len(parts[0]) : len(text.encode()) - len(parts[1])] + parts[1]
    assert whole == text.encode()
    body = PassedBody(endpoint="embeddings", content_type="application/json", parts=parts)
    sent = json.loads(body.with_model(new))
    assert sent == json.loads(text) | {"model": new}
    assert list(sent) == list(json.loads(text))


def test_inner_fields_and_doubles() -> None:
    """A field inside another stays; of two with the name neither stays."""
    text = ' {"a": {"model": "x"}, "model" : "y" , "model":null}'
    assert cut_json(text) == (b' {"a": {"model": "x"}, "model" : ', b' , "model":', b"}")


@given(
    file=st.binary(max_size=300), prompt=st.text(max_size=50), model=st.from_regex(r"\A[a-z/]+\Z")
)
def test_a_form_passes_with_another_name(file: bytes, prompt: str, model: str) -> None:
    """The file, whatever its bytes, and the other fields."""
    request = httpx.Request(
        "POST",
        "http://x.example",
        data={"prompt": prompt, "model": model},
        files={"file": ("a.wav", file, "audio/wav")},
    )
    body, content_type = request.read(), request.headers["content-type"]
    parts, fields = cut_form(body, content_type)
    assert model.encode().join(parts) == body
    assert fields["model"] == model
    assert fields["file"] is None


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"--x\r\n\r\n", "multipart/form-data"),
        (b"nothing", "multipart/form-data; boundary=x"),
        (b"--x\r\nno head", "multipart/form-data; boundary=x"),
        (b"--x\r\nA: b\r\n\r\nno name\r\n--x--", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1',
            'multipart/form-data; boundary="x"',
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 200,
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_what_is_no_form(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidForm):
        cut_form(body, content_type)


HEAD = "multipart/form-data; boundary=x"
FIELD = b'Content-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
ALLOWED = b"--x\r\n" + FIELD % (b"model", b"allowed")
END = b"--x--\r\n"


def _headed(head: bytes) -> bytes:
    """A form with one more part, with these headers."""
    return ALLOWED + b"--x\r\n" + head + b"\r\n\r\nforbidden\r\n" + END


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (_headed(b'Content-Disposition: form-data; name="a"; name="model"'), HEAD),
        (_headed(b'Content-Disposition: form-data; filename="; name=a"; name="model'), HEAD),
        (_headed(b"Content-Disposition: form-data; name=\"a\"; name*=UTF-8''model"), HEAD),
        (_headed(b'Content-Disposition: form-data; name="mod\\el"'), HEAD),
        (
            _headed(
                b'Content-Disposition: form-data; name="a"\r\n'
                b'Content-Disposition : form-data; name="model"'
            ),
            HEAD,
        ),
        (
            _headed(
                b'Content-Disposition: form-data; name="a"\r\nA: b\n'
                b'Content-Disposition: form-data; name="model"'
            ),
            HEAD,
        ),
        (b"--x\n" + FIELD % (b"model", b"forbidden") + ALLOWED + END, HEAD),
        (ALLOWED + END + b"--x\r\n" + FIELD % (b"model", b"forbidden") + END, HEAD),
        (ALLOWED + b"--x--y\r\n" + FIELD % (b"model", b"forbidden") + END, HEAD),
        (ALLOWED + b"--xy\r\n" + FIELD % (b"model", b"forbidden") + END, HEAD),
        (ALLOWED + END, HEAD + "; boundary=y"),
        (ALLOWED + END, 'multipart/form-data; a="; boundary=x"; boundary=y'),
        (ALLOWED + END, "multipart/form-data; yboundary=x"),
        (b"--\xe9\r\n", "multipart/form-data; boundary=\xe9"),
    ],
)
def test_a_form_that_may_be_read_in_two_ways_is_refused(body: bytes, content_type: str) -> None:
    """Else a provider could find another model in it than the one that was checked."""
    assert cut_form(ALLOWED + END, HEAD)[1] == {"model": "allowed"}
    with pytest.raises(InvalidForm):
        cut_form(body, content_type)


def test_quoted_signs_in_the_name_of_a_file_are_no_fields() -> None:
    head = b'Content-Disposition: form-data; filename="; name=model; \\"b"; name="file"'
    body = ALLOWED + b"--x\r\n" + head + b"\r\n\r\nsound\r\n" + END
    assert cut_form(body, HEAD)[1] == {"model": "allowed", "file": None}


def test_of_two_models_neither_stays() -> None:
    body = ALLOWED + ALLOWED.replace(b"allowed", b"forbidden") + END
    parts, fields = cut_form(body, HEAD)
    assert b"new".join(parts) == (ALLOWED.replace(b"allowed", b"new") * 2) + END
    assert fields == {"model": "forbidden"}
