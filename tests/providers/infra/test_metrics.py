"""The metrics, read back with Prometheus' own parser, and who may read it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from providers.domain.types import AttemptRecord, Method, Usage
from providers.infra import metrics
from providers.policy.breaker import State

ROOT = Path(__file__).resolve().parents[3]
HERE = {"host": "localhost:8000"}
TOKEN = "metrics-test-token-0123456789"


@pytest.fixture(autouse=True)
def _room_for_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' providers may have taken it all."""
    monkeypatch.setattr(metrics, "_names", metrics.LabelNames())


def record(outcome: str = "ok", **fields: object) -> AttemptRecord:
    given = {
        "route_id": 1,
        "method": Method.DIRECT,
        "endpoint": "",
        "outcome": outcome,
        "reason": "the first choice",
        "started_at": datetime.now(UTC),
        "duration_ms": 300,
    } | fields
    return AttemptRecord(**given)  # type: ignore[arg-type]


def sample_value(name: str, **labels: str) -> float:
    """A sample's value, summed over the labels that are not given."""
    return sum(value for found, value in samples(name) if labels.items() <= found.items())


def samples(name: str) -> Iterator[tuple[dict[str, str], float]]:
    text = metrics.render(settings.METRICS_FOLDER).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                yield sample.labels, sample.value


def test_it_works() -> None:
    """A whole request: the attempt, its tokens and cost, and what the caller saw of it."""
    usage = Usage(input_tokens=20, output_tokens=51)
    metrics.count_attempt("works", "m", "api", record(usage=usage, cost=Decimal("0.25")))
    metrics.count_request(
        *("api", "ok", 1.1),
        provider="works",
        requested="works/m",
        model="m",
        overhead=0.0004,
        first_token=0.1,
        output_tokens=51,
        longest_gap=0.3,
    )
    call = {"gen_ai_provider_name": "works", "gen_ai_request_model": "m"}
    assert sample_value("opencode_web_attempts_total", provider="works", outcome="ok") == 1
    assert sample_value("opencode_web_cost_usd_total", provider="works", purpose="api") == 0.25
    assert (
        sample_value("gen_ai_client_operation_duration_seconds_sum", **call, error_type="") == 0.3
    )
    assert sample_value("gen_ai_client_token_usage_sum", **call, gen_ai_token_type="output") == 51
    answer = {"gen_ai_request_model": "works/m", "gen_ai_response_model": "m"}
    assert sample_value("gen_ai_server_request_duration_seconds_sum", **answer) == 1.1
    assert sample_value("gen_ai_server_time_to_first_token_seconds_sum", **answer) == 0.1
    each = sample_value("gen_ai_server_time_per_output_token_seconds_sum", **answer)
    assert each == pytest.approx(0.02)
    assert sample_value("opencode_web_longest_chunk_gap_seconds_sum", provider="works") == 0.3


def test_what_is_counted_later_is_there_when_somebody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where very much waits it is counted at once."""
    metrics.flush()
    before = sample_value("opencode_web_fallbacks_total", reason="later")
    metrics.count_later(lambda: metrics.count_fallback("later"))
    assert sample_value("opencode_web_fallbacks_total", reason="later") == before + 1
    monkeypatch.setattr(metrics, "MAX_WAITING", 3)
    counted: list[int] = []
    for number in range(4):
        metrics.count_later(lambda number=number: counted.append(number))  # type: ignore[misc]
    assert counted == [0, 1, 2, 3]


@given(st.lists(st.floats(min_value=0, max_value=200) | st.sampled_from([0.01, 0.02]), min_size=1))
def test_many_amounts_at_once_fall_where_each_alone_would(amounts: list[float]) -> None:
    """The library knows only the one by one."""
    seconds = metrics._CALL_SECONDS
    for amount in amounts:
        seconds.labels("chat", "singly", "m", "").observe(amount)
    seconds.labels("chat", "together", "m", "").observe_all(amounts)
    (family,) = seconds.collect()
    singly, together = (
        {
            (sample.name, sample.labels.get("le")): sample.value
            for sample in family.samples
            if sample.labels["gen_ai_provider_name"] == slug and "created" not in sample.name
        }
        for slug in ("singly", "together")
    )
    assert together == pytest.approx(singly)
    assert together


def test_probes_and_tests_are_counted_and_not_timed() -> None:
    """They are no traffic: a probe each minute would be all that the histograms show."""
    for purpose in ("probe", "test"):
        metrics.count_attempt("idle", "m", purpose, record("timeout", cost=Decimal("0.001")))
    assert sample_value("opencode_web_attempts_total", provider="idle", outcome="timeout") == 2
    assert sample_value("opencode_web_cost_usd_total", provider="idle", purpose="probe") == 0.001
    assert (
        sample_value("gen_ai_client_operation_duration_seconds_count", gen_ai_provider_name="idle")
        == 0
    )


def test_a_whole_answer_has_no_first_token() -> None:
    """Its tokens come all at once."""
    metrics.count_request(
        "api", "ok", 0.2, provider="whole", requested="w", model="m", output_tokens=9
    )
    answer = {"gen_ai_provider_name": "whole"}
    assert sample_value("gen_ai_server_request_duration_seconds_count", **answer) == 1
    assert sample_value("gen_ai_server_time_to_first_token_seconds_count", **answer) == 0
    assert sample_value("gen_ai_server_time_per_output_token_seconds_count", **answer) == 0


def test_the_routers_decisions_are_counted() -> None:
    """Fallbacks by reason, breakers by state, what is left of the budget, what was lost."""
    before = {
        name: sample_value(f"opencode_web_{name}_total")
        for name in ("fallbacks", "attempts_dropped", "breaker_transitions")
    }
    metrics.count_fallback("rate_limit")
    metrics.count_breaker_move("moves", "gateway", State.OPEN)
    metrics.count_breaker_move("moves", "gateway", State.HALF_OPEN)
    metrics.set_retry_budget(7.5)
    metrics.count_dropped(3)
    assert sample_value("opencode_web_fallbacks_total") == before["fallbacks"] + 1
    assert sample_value("opencode_web_attempts_dropped_total") == before["attempts_dropped"] + 3
    assert (
        sample_value("opencode_web_breaker_transitions_total") == before["breaker_transitions"] + 2
    )
    assert sample_value("opencode_web_breaker_state", provider="moves", method="gateway") == 1
    assert sample_value("opencode_web_retry_budget") == 7.5


def test_a_request_is_in_run_until_it_ends_however_it_ends() -> None:
    """Or a dashboard would show answers that nobody waits for."""
    flying = "opencode_web_requests_in_flight"
    with suppress(ConnectionError), metrics.track_in_flight("chat"):
        assert sample_value(flying, purpose="chat") == 1
        raise ConnectionError
    assert sample_value(flying, purpose="chat") == 0


def test_names_are_kept_up_to_a_number_and_then_shared() -> None:
    """Each series is memory here and in Prometheus, for ever."""
    names = metrics.LabelNames(providers=2, models=2)
    assert names.of("a", "m1") == ("a", "m1")
    assert names.of("b", "m2") == ("b", "m2")
    assert names.of("b", "m3") == ("b", "other")
    assert names.of("c", "m1") == ("other", "other")
    assert names.of("a", "m1") == ("a", "m1")
    assert names.of("c") == ("other",)


def test_labels_are_of_a_known_few() -> None:
    """None could name a person, a key or what somebody typed."""
    metrics.count_attempt("labels", "m", "chat", record("network"))
    text = metrics.render(settings.METRICS_FOLDER).decode()
    families = list(text_string_to_metric_families(text))
    assert {family.name.partition("_web_")[0].partition("_ai_")[0] for family in families} == {
        "gen",
        "opencode",
    }
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels - {"le"} <= {
        *("provider", "method", "purpose", "outcome", "state", "reason", "error_type"),
        *("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_token_type"),
        *("gen_ai_request_model", "gen_ai_response_model"),
    }


def test_the_longest_gap_between_chunks_is_kept() -> None:
    """One chunk has none."""
    pace = metrics.ChunkGaps()
    pace.add_chunk()
    assert pace.longest is None
    pace.add_chunk()
    first = pace.longest
    pace.add_chunk()
    assert first is not None
    assert pace.longest is not None
    assert pace.longest >= first


def test_processes_are_reported_together_and_the_dead_have_nothing_in_run(
    tmp_path: Path,
) -> None:
    """What a killed process counted stays counted; what it was at is over."""
    code = (
        "import os, sys; from providers.infra import metrics;"
        "from providers.policy.breaker import State;"
        "metrics.count_request('api', 'ok', 1.0); metrics.flush();"
        "metrics.count_breaker_move('p', 'direct', State.OPEN);"
        "metrics.track_in_flight('api').__enter__(); print(flush=True); sys.stdin.read()"
    )
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    together = metrics.render(tmp_path).decode()
    processes[0].kill()
    processes[0].communicate()
    afterwards = metrics.render(tmp_path).decode()
    processes[1].communicate()
    for text, in_flight in ((together, 2), (afterwards, 1)):
        assert 'opencode_web_requests_total{outcome="ok",purpose="api"} 2.0' in text
        assert f'opencode_web_requests_in_flight{{purpose="api"}} {in_flight}.0' in text
        assert 'opencode_web_breaker_state{method="direct",provider="p"} 2.0' in text


def test_a_process_alone_reports_itself() -> None:
    """Where no folder is shared."""
    metrics.count_fallback("network")
    assert b"opencode_web_fallbacks_total" in metrics.render(None)


def test_this_machine_reads_without_a_token(settings: Settings) -> None:
    """In the format that Prometheus asks for, and without a session."""
    metrics.count_fallback("network")
    answer = Client().get("/metrics", headers=HERE)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.content.decode())}
    assert "opencode_web_fallbacks" in names


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        (HERE, "192.0.2.7"),
        (HERE, ""),
        ({"host": "chat.example.com"}, "127.0.0.1"),
        (HERE | {"x-forwarded-for": "192.0.2.7"}, "127.0.0.1"),
        (HERE | {"forwarded": "for=192.0.2.7"}, "127.0.0.1"),
    ],
)
def test_others_find_nothing(settings: Settings, headers: dict[str, str], address: str) -> None:
    """Nor do those whom a proxy on this machine lets through."""
    settings.ALLOWED_HOSTS = ["*"]
    assert Client(REMOTE_ADDR=address).get("/metrics", headers=headers).status_code == 404


def test_behind_a_proxy_loopback_is_nobody(settings: Settings) -> None:
    """Everybody comes from there."""
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/metrics", headers=HERE).status_code == 404


def test_with_a_token_who_shows_it_reads_from_anywhere(settings: Settings) -> None:
    """And this machine has to show it too."""
    settings.METRICS_TOKEN = TOKEN
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    shown = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
    assert elsewhere.get("/metrics", headers=shown).status_code == 200
    for wrong in ("Bearer other", f"Basic {TOKEN}", f"Bearer {TOKEN}é", ""):
        refused = Client().get("/metrics", headers=HERE | {"authorization": wrong})
        assert refused.status_code == 401
        assert refused["WWW-Authenticate"] == "Bearer"
