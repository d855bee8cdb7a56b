"""`/.well-known/opencode`, which `opencode auth login URL` reads, and the command that it runs.

OpenCode stores what the command prints as the value of a variable, and from then on fetches the
remote configuration at each start: so its list of models is always the current one.
Source: https://opencode.ai/docs/config, "Remote".
"""

from typing import Any

from api.model_list import opencode_config
from providers.protocols.openai_chat import encode_json
from providers.protocols.opencode_config import KEY_VARIABLE

# Runs with `sh -c SCRIPT opencode-web ORIGIN`. It prints the key alone, which OpenCode stores; what
# people read goes to the terminal. The answers that it reads with sed are written by device_views:
# no value has a quote in it. A subshell tries the terminal, because a failed redirection of `:`
# would end the shell.
LOGIN_SCRIPT = r"""
terminal=/dev/tty; (: >"$terminal") 2>/dev/null || terminal=/dev/stderr
show() { printf '%s\n' "$1" >"$terminal"; }
field() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
started=$(curl -fsS -X POST "$1/connect/device/code/") || { show "$1 cannot be reached."; exit 1; }
device_code=$(printf '%s' "$started" | field device_code)
show "Open $(printf '%s' "$started" | field verification_uri_complete)"
show "and confirm the code $(printf '%s' "$started" | field user_code)."
while sleep 3; do
  answer=$(curl -sS -d "device_code=$device_code" "$1/connect/device/token/") || continue
  case $answer in
    *'"access_token":'*) printf '%s' "$answer" | field access_token; exit 0 ;;
    *authorization_pending* | *slow_down*) ;;
    *) show "$(printf '%s' "$answer" | field error_description)"; exit 1 ;;
  esac
done
""".strip()


def describe(origin: str) -> bytes:
    """The document for a site at this origin, such as `https://llm.example`."""
    document: dict[str, Any] = {
        "auth": {
            "command": ["sh", "-c", LOGIN_SCRIPT, "opencode-web", origin],
            "env": KEY_VARIABLE,
        },
        "remote_config": {
            "url": origin + opencode_config.PATH,
            "headers": {"Authorization": f"Bearer {{env:{KEY_VARIABLE}}}"},
        },
    }
    return encode_json(document)
