"""The ways in which the fake provider fails, by name, as plain values. No I/O.

Each has a whole form as well: where no stream was asked for, the one JSON body is cut, stalled,
malformed, empty or unfinished in the same place.
"""

from dataclasses import replace

from tests.upstreams.plans import SIXTY, Plan, words

_THREE = Plan(text=words("One two three"))
_FORTY = Plan(text=words(SIXTY), said=40)
_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please wait</body></html>\n"
)
_LIMIT = Plan(
    status=429,
    code="rate_limit_exceeded",
    message="Rate limit reached for requests.",
    retry_after=2,
)
_OVERLOAD = Plan(
    status=503, code="overloaded", message="The engine is overloaded, please try again later."
)
_BROKEN = Plan(status=500, code="server_error", message="The server had an error.")
_TOO_LONG = Plan(
    status=400,
    code="context_length_exceeded",
    message="This model's maximum context length is 8192 tokens. Your messages have 9000 tokens.",
)
_UNSAFE = Plan(
    status=400,
    code="content_filter",
    message="The response was filtered due to the prompt triggering the content policy.",
)

# As OpenRouter sends it: the code repeats the status, and the metadata says what it was.
_MODERATED = (
    '{"error": {"code": 403, "message": "Your input was flagged.", "metadata":'
    ' {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"}}}'
)

# Those that the catalogue lists too: what a person meets first.
SIMPLE_FAULTS = {
    "stall-headers": Plan(begin="stall-headers"),
    "stall-first": Plan(begin="stall-first"),
    "stall-mid": replace(_THREE, end="stall"),
    "cut-mid": replace(_THREE, end="cut"),
    "truncated": replace(_THREE, end="truncate"),
    "reset": Plan(begin="reset"),
    "truncated-at-once": Plan(end="truncate"),
    "400": Plan(status=400, code="invalid_value", message="max_tokens is too large."),
    "401": Plan(status=401, code="invalid_api_key", message="Incorrect API key provided."),
    "403-moderated": Plan(raw=_MODERATED, content_type="application/json", status=403),
    "403": Plan(status=403, code="forbidden_model", message="This key may not use this model."),
    "402": Plan(
        status=402, code="insufficient_quota", message="Insufficient credits. Add more to go on."
    ),
    "429": _LIMIT,
    "500": _BROKEN,
    "503": replace(_OVERLOAD, retry_after=1),
    "html": Plan(raw=_PAGE, content_type="text/html"),
    "garbage": Plan(raw="data: {this is no JSON\n\n", content_type="text/event-stream"),
    "error-in-200": Plan(end="error"),
    "error-mid": replace(_THREE, end="error"),
    "empty": Plan(),
}
FAULTS = SIMPLE_FAULTS | {
    # Limits and load: when to come again, said in seconds, as a date, in milliseconds, not at all.
    "429-seconds": replace(_LIMIT, retry_after=1),
    "429-date": replace(_LIMIT, retry_after=0.5, retry_as="date"),
    "429-ms": replace(_LIMIT, retry_after=0.3, retry_as="ms"),
    "429-nonsense": replace(_LIMIT, retry_as="nonsense"),
    "429-silent": replace(_LIMIT, retry_after=None),
    "429-words": replace(_LIMIT, retry_after=None, message="Limited. Please try again in 0.3s."),
    "429-long": replace(_LIMIT, retry_after=3600),
    "503-silent": _OVERLOAD,
    "529": replace(_OVERLOAD, status=529),
    # Breaks in the middle of an answer, after 40 of its 60 tokens.
    "cut-40": replace(_FORTY, end="cut"),
    "stall-40": replace(_FORTY, end="stall"),
    "eof-40": replace(_FORTY, end="eof"),
    "truncated-40": replace(_FORTY, end="truncate"),
    "garbled-40": replace(_FORTY, end="garbled"),
    "error-40": replace(_FORTY, end="error"),
    # Refusals of this request, and answers that are none.
    "too-long": _TOO_LONG,
    "400-filter": _UNSAFE,
    "filtered": Plan(reason="content_filter"),
    "nothing": Plan(begin="nothing"),
    "error-body": Plan(
        raw='{"error": {"message": "The model is broken.", "type": "server_error", "code": null}}',
        content_type="application/json",
    ),
    "10-mb": Plan(status=500, page=10 * 2**20),
}

# https://docs.z.ai/api-reference/api-code: the status it comes with, and its words. All it says of
# balance, plan, frequency and load comes as 429: only the code distinguishes them.
ZAI = {
    "1000": (401, "Authentication Failed"),
    "1001": (401, "Authentication parameter not received in Header, unable to authenticate"),
    "1002": (401, "Invalid Authentication Token"),
    "1003": (401, "Authentication Token expired, please regenerate/obtain"),
    "1004": (401, "Authentication failed with the provided Authentication Token"),
    "1112": (429, "Your account has been locked, please contact customer service to unlock"),
    "1113": (429, "Insufficient balance or no resource package. Please recharge."),
    "1121": (429, "Account has irregular activities and has been locked"),
    "1210": (400, "Incorrect API call parameters, please check the documentation"),
    "1211": (400, "Model does not exist, please check the model code"),
    "1212": (400, "Current model does not support SYNC call method"),
    "1213": (400, "messages parameter not received properly"),
    "1214": (400, "Invalid temperature parameter. Please check the documentation"),
    "1215": (400, "top_p and temperature cannot be set simultaneously"),
    "1301": (400, "System detected potentially unsafe or sensitive content in input"),
    "1302": (429, "High concurrency usage of this API, please reduce concurrency"),
    "1303": (429, "High frequency usage of this API, please reduce frequency"),
    "1304": (429, "Daily call limit for this API reached"),
    "1305": (429, "The API has triggered a rate limit"),
    "1308": (429, "Usage limit reached for 5 hour. Your limit will reset at {reset}"),
    "1309": (429, "Your GLM Coding Plan package has expired and is temporarily unavailable"),
    "1310": (429, "Weekly/Monthly Limit Exhausted. Your limit will reset at {reset}"),
}


def zai(code: str, status: int | None = None) -> Plan:
    """The refusal that Z.ai has for a code of its own."""
    usual, message = ZAI[code]
    return Plan(status=status or usual, code=code, message=message, bare=True)
