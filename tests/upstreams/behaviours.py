"""How the fake provider may behave, by name. No I/O.

A name nobody knows answers like `echo`. Names with numbers in them:

    slow-<n>-<ms>      n tokens, one every ms milliseconds
    heavy-<n>          n pieces of 100 kB: more than the system's buffers take where n is large
    late-<ms>          the head of an answer at once, its 60 tokens that much later
    flap-<up>-<down>   answers for so many milliseconds, then fails for so many, and so on
    zai-<code>         the refusal that Z.ai has for that code; `zai-<code>-<status>` with a status
    once-<fault>       that fault the first time it is asked for, then 60 tokens
"""

import re

from tests.upstreams.faults import FAULTS, SIMPLE_FAULTS, zai
from tests.upstreams.oddities import ODDITIES
from tests.upstreams.plans import (
    CODEX_CALL,
    HEAVY,
    MARKDOWN,
    REASONING,
    RICH,
    SIXTY,
    Plan,
    cut,
    long_text,
    slow_text,
    words,
)

__all__ = ["CATALOGUE", "MARKDOWN", "SIXTY", "Plan", "long_text", "meant", "plan", "slow_text"]


def _list(raw: str) -> Plan:
    """A list of models in a shape of its own."""
    return Plan(raw=raw, content_type="application/json")


_ANSWERS = {
    "markdown": Plan(text=cut(MARKDOWN, 5), pause=0.005),
    "rich": Plan(text=cut(RICH, 5)),
    "long": Plan(text=words(long_text())),
    "sixty": Plan(text=words(SIXTY)),
    "no-done": Plan(text=words(SIXTY), end="no-done"),
    "tools": Plan(tool=True),
    "codex-runs": Plan(raw=CODEX_CALL, content_type="text/event-stream"),
    "thinks-aloud": Plan(text=words("<think> Let me see. </think> OK")),
    "plain": Plan(text=words("OK"), refuses=("tools", "reasoning_effort"), limits=True),
    "no-limit": Plan(text=words("OK"), refuses=("max_tokens",)),
    "wants-16": Plan(text=words("OK"), least_tokens=16),
    "wants-64": Plan(text=words("OK"), least_tokens=64),
    "404-path": Plan(status=404, bare=True, code="404", message="Not Found"),
    "404-model": Plan(status=404, code="model_not_found", message="There is no such model."),
    "marked": Plan(
        raw='\ufeff{"choices": [{"message": {"content": "OK"}, "finish_reason": "stop"}]}',
        content_type="application/json",
    ),
    "slugs": _list('{"models": [{"slug": "glm-5", "name": "GLM-5"}, {"slug": "echo"}]}'),
    "nothing-listed": _list('{"object": "list", "data": []}'),
    **{n: Plan(raw=o.raw, content_type=o.content_type) for n, o in ODDITIES.items()},
    "strange-list": _list('{"catalog": {"items": []}}'),
}
CATALOGUE = (
    *("echo", "reasoning", "slow-50-40", "zai", "no-usage", "whole"),
    *("markdown", "long", "tools"),
    *SIMPLE_FAULTS,
)


def meant(name: str, nth: int, at: float) -> str:
    """The behaviour of a name that changes: for its nth request, `at` seconds after the start."""
    if once := re.fullmatch(r"once-(.+)", name):
        return once[1] if nth == 1 else "sixty"
    if flap := re.fullmatch(r"flap-(\d+)-(\d+)", name):
        up, down = int(flap[1]), int(flap[2])
        return "sixty" if at * 1000 % (up + down) < up else "500"
    return name


def plan(name: str, question: str = "", path: str = "") -> Plan:
    """The plan for a behaviour, a question, and the path it was asked at."""
    if slow := re.fullmatch(r"slow-(\d+)-(\d+)", name):
        return Plan(text=words(slow_text(int(slow[1]))), pause=int(slow[2]) / 1000)
    if heavy := re.fullmatch(r"heavy-(\d+)", name):
        return Plan(text=(HEAVY,) * int(heavy[1]))
    if late := re.fullmatch(r"late-(\d+)", name):
        return Plan(text=words(SIXTY), late=int(late[1]) / 1000)
    if code := re.fullmatch(r"zai-(\d+)(?:-(\d+))?", name):
        return zai(code[1], int(code[2]) if code[2] else None)
    if name == "zai" and path.startswith("/api/paas/v4"):
        return zai("1113")
    return (_ANSWERS | FAULTS).get(name) or Plan(
        text=words(question) or ("(nothing was asked)",),
        reasoning=words(REASONING) if name == "reasoning" else (),
        usage=name != "no-usage",
        whole=name == "whole",
    )
