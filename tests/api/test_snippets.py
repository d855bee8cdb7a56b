"""What is copied from the Connect page works as it is: in OpenCode, a shell, Python."""

import ast
import json
import shlex

from api.snippets import Offered, curl, opencode, python, snippets

URL = "https://chat.example.com/v1"
GLM = Offered(id="zai/glm-4.7", name="GLM-4.7", context=204800, output_limit=131072)
TINY = Offered(id='local/it\'s "tiny"', name="Tiny", context=4096)


def test_opencode_gets_the_address_and_every_model() -> None:
    """It does not ask for models, and takes a limit only where both halves are known."""
    config = json.loads(opencode(URL, [GLM, TINY]))
    provider = config["provider"]["opencode-web"]
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert provider["options"] == {"baseURL": URL, "apiKey": "{env:OPENCODE_WEB_KEY}"}
    assert provider["models"] == {
        "zai/glm-4.7": {"name": "GLM-4.7", "limit": {"context": 204800, "output": 131072}},
        'local/it\'s "tiny"': {"name": "Tiny"},
    }


def test_the_shell_reads_one_command() -> None:
    """Whatever stands in the model's name."""
    words = shlex.split(curl(URL, TINY.id))
    assert words[:2] == ["curl", f"{URL}/chat/completions"]
    assert json.loads(words[-1])["model"] == TINY.id


def test_python_parses() -> None:
    """The model's name is one literal."""
    nodes = ast.walk(ast.parse(python(URL, TINY.id)))
    literals = [node.value for node in nodes if isinstance(node, ast.Constant)]
    assert TINY.id in literals
    assert URL in literals


def test_without_a_model_the_examples_say_what_to_put_there() -> None:
    """An instance without providers has the page too."""
    assert all("provider/model" in snippet.text for snippet in snippets(URL, [])[1:])
