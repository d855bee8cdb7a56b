"""The activity log: one row a request, found by filters, seen only by whom it concerns."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from chat.models import Conversation, Message, Role, Status
from providers.diagnosis import trace
from providers.diagnosis.trace import AXIS, RequestTrace
from providers.models import Attempt, Provider
from providers.operations import activity
from providers.operations.activity import Filters, Mark

MakeProvider = Callable[..., Provider]
HTMX = {"HX-Request": "true"}
LOG = "/activity/"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def acme(make_provider: MakeProvider) -> Provider:
    return make_provider("Acme", api_key="sk-secret-0123456789wxyz")


def attempt(provider: Provider, **fields: Any) -> Attempt:
    """One good answer of the chat, an hour ago, unless said otherwise."""
    usual = {
        "request_id": uuid4(),
        "method": "direct",
        "model_id": "m",
        "purpose": "chat",
        "outcome": "ok",
        "reason": "direct: preferred",
        "ttft_ms": 300,
        "duration_ms": 1000,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost": Decimal("0.002"),
        "started_at": timezone.now() - timedelta(hours=1),
    }
    return Attempt.objects.create(provider=provider, **(usual | fields))


def fallback(provider: Provider, **fields: Any) -> UUID:
    """A request that direct failed and the gateway answered, 250 ms later."""
    request_id, began = uuid4(), timezone.now() - timedelta(hours=1)
    failed = {"outcome": "timeout", "error_code": "first_token", "error_message": "Too slow."}
    unanswered = {"ttft_ms": None, "input_tokens": None, "output_tokens": None, "cost": None}
    attempt(provider, request_id=request_id, started_at=began, **(failed | unanswered | fields))
    attempt(
        provider,
        request_id=request_id,
        started_at=began + timedelta(milliseconds=1250),
        **({"position": 2, "method": "gateway", "reason": "gateway: direct failed"} | fields),
    )
    return request_id


def page_of(client: Client, **query: Any) -> str:
    response = client.get(LOG, query)
    assert response.status_code == 200
    return response.content.decode()


def shown(html: str) -> list[str]:
    """The ids of the listed requests."""
    return re.findall(rf'href="{LOG}([0-9a-f-]{{36}})/"', html)


def trace_url(request_id: UUID) -> str:
    return reverse("activity:trace", args=[request_id])


def test_an_empty_log_says_what_comes_here(owner_client: Client) -> None:
    """And what to do next."""
    assert "No requests yet" in page_of(owner_client)


def test_a_request_is_one_row_however_many_attempts(owner_client: Client, acme: Provider) -> None:
    """With the route that answered, the fallback marked in a word, and the figures of the whole."""
    request_id = fallback(acme)
    html = page_of(owner_client)
    assert shown(html) == [str(request_id)]
    for words in ("Answered", ">fallback<", "2 attempts", "gateway", "10 in, 20 out", "$0.0020"):
        assert words in html
    assert "1.6 s" in html  # the first token: 1.25 s after the start, and its own 300 ms
    assert "2.2 s" in html


def test_a_retry_is_no_fallback(owner_client: Client, acme: Provider) -> None:
    """The same route again: two attempts, no marker, and not found by "fell back only"."""
    request_id = uuid4()
    attempt(acme, request_id=request_id, outcome="network")
    attempt(acme, request_id=request_id, position=2)
    html = page_of(owner_client)
    assert "2 attempts" in html
    assert ">fallback<" not in html
    assert shown(page_of(owner_client, fell_back="on")) == []


def test_people_see_their_own_requests_alone(
    owner_client: Client, stranger_client: Client, owner: User, stranger: User, acme: Provider
) -> None:
    """Operators see all; to others neither the row nor the trace is there, nor probes and tests."""
    mine = attempt(acme, user=stranger)
    others = attempt(acme, user=owner)
    probe = attempt(acme, purpose="probe")
    tested = attempt(acme, purpose="test", user=stranger)
    every = {str(each.request_id) for each in (mine, others, probe, tested)}
    assert set(shown(page_of(owner_client, purpose="any"))) == every
    assert shown(page_of(stranger_client)) == [str(mine.request_id)]
    assert shown(page_of(stranger_client, request=str(others.request_id))) == []
    assert stranger_client.get(trace_url(mine.request_id)).status_code == 200
    for hidden in (others, probe, tested):
        assert stranger_client.get(trace_url(hidden.request_id)).status_code == 404
        assert owner_client.get(trace_url(hidden.request_id)).status_code == 200


def test_the_log_opens_without_probes(owner_client: Client, acme: Provider) -> None:
    """They are most of a quiet log; by purpose, or by its id, one is found."""
    chat, probe = attempt(acme), attempt(acme, purpose="probe")
    assert shown(page_of(owner_client)) == [str(chat.request_id)]
    assert shown(page_of(owner_client, purpose="probe")) == [str(probe.request_id)]
    assert shown(page_of(owner_client, request=str(probe.request_id))) == [str(probe.request_id)]


def test_a_hidden_trace_looks_like_one_that_is_not_there(
    stranger_client: Client, owner: User, acme: Provider
) -> None:
    """Nobody learns which requests others made."""
    hidden, none = attempt(acme, user=owner).request_id, uuid4()
    pages = [stranger_client.get(trace_url(each)).content.decode() for each in (hidden, none)]
    token = re.compile(r'"X-CSRFToken": "\w+"|name="csrfmiddlewaretoken" value="\w+"')
    plain = [
        token.sub("", page).replace(str(each), "")
        for page, each in zip(pages, (hidden, none), strict=True)
    ]
    assert plain[0] == plain[1]


def test_only_operators_look_for_people(
    owner_client: Client, stranger_client: Client, owner: User, stranger: User, acme: Provider
) -> None:
    """By name, whatever its case; for others the field is not there and its value does nothing."""
    his, hers = attempt(acme, user=stranger), attempt(acme, user=owner)
    assert shown(page_of(owner_client, person="Charlie")) == [str(his.request_id)]
    assert "There is no user nobody." in page_of(owner_client, person="nobody")
    html = page_of(stranger_client, person="alice")
    assert shown(html) == [str(his.request_id)]
    assert 'name="person"' not in html
    assert str(hers.request_id) not in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"provider": "beta"}, {"beta", "rescued"}),
        ({"provider": "acme"}, {"ok", "auth", "stopped", "resting", "old", "rescued"}),
        ({"model": "GLM-4.7"}, {"beta"}),
        ({"model": "glm.4"}, set()),
        ({"model": "(["}, set()),
        ({"outcome": "ok"}, {"ok", "beta", "old", "rescued"}),
        ({"outcome": "failed"}, {"auth", "resting"}),
        ({"outcome": "auth"}, {"auth"}),
        ({"outcome": "stopped"}, {"stopped"}),
        ({"purpose": "api"}, {"beta"}),
        ({"method": "gateway"}, {"auth"}),
        ({"method": "none"}, {"resting"}),
        ({"fell_back": "on"}, {"rescued"}),
        ({"span": "24h"}, {"ok", "beta", "auth", "stopped", "resting", "rescued"}),
        ({"until": "2026-01-02T00:00"}, {"old"}),
        ({"since": "2026-01-01T00:00", "until": "2026-01-01T00:00"}, {"old"}),
        ({"key": "7"}, {"beta"}),
        ({"provider": "acme", "outcome": "failed", "method": "gateway"}, {"auth"}),
        ({"model": "nothing like it"}, set()),
    ],
)
def test_filters_find(
    owner_client: Client,
    make_provider: MakeProvider,
    acme: Provider,
    query: dict[str, str],
    found: set[str],
) -> None:
    """Each by itself and together; a provider also where another one answered in its place."""
    beta = make_provider("Beta")
    made = {
        "ok": attempt(acme),
        "beta": attempt(beta, model_id="glm-4.7", purpose="api", client_key=7),
        "auth": attempt(acme, outcome="auth", method="gateway"),
        "stopped": attempt(acme, outcome="stopped"),
        "resting": attempt(acme, outcome="overloaded", method="", error_code="routes_resting"),
        "old": attempt(acme, started_at=datetime(2026, 1, 1, tzinfo=UTC)),
        "rescued": attempt(beta, outcome="timeout"),
    }
    attempt(acme, request_id=made["rescued"].request_id, position=2)
    names = {str(each.request_id): name for name, each in made.items()}
    assert {names[each] for each in shown(page_of(owner_client, **query))} == found


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"request": "not-an-id"}, "This is not a request id."),
        ({"outcome": "splendid"}, "splendid is not one of the available choices"),
        ({"provider": "gone"}, "gone is not one of the available choices"),
        ({"since": "yesterday"}, "Enter a valid date/time."),
        ({"since": "2026-02-01T00:00", "until": "2026-01-01T00:00"}, "before the start"),
        ({"key": "99999999999999999999"}, "less than or equal to"),
        ({"model": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_a_bad_value_is_reported_and_nothing_is_lost(
    owner_client: Client, acme: Provider, query: dict[str, str], words: str
) -> None:
    """The other filters count, what was typed stays, the list is there."""
    kept, other = attempt(acme), attempt(acme, outcome="stopped")
    html = page_of(owner_client, **({"outcome": "ok"} | query))
    assert words in html
    assert "Filter ignored:" in html
    assert str(kept.request_id) in shown(html)
    assert (str(other.request_id) in shown(html)) == ("outcome" in query)
    if "request" in query:
        assert 'value="not-an-id"' in html


@pytest.mark.parametrize("mark", ["x", "1", "-", "9" * 30 + "-1", "1-" + "9" * 30, "1--1", "1e3-2"])
def test_a_mark_that_nobody_gave_out_shows_the_newest(
    owner_client: Client, acme: Provider, mark: str
) -> None:
    """A mangled link is no error page."""
    attempt(acme)
    assert len(shown(page_of(owner_client, before=mark))) == 1


def test_pages_go_through_the_whole_log_once(owner: User, acme: Provider) -> None:
    """Older to the end and newer back again, also where many requests share a moment."""
    moments = [timezone.now() - timedelta(minutes=number // 7) for number in range(130)]
    rows = [
        Attempt(
            provider=acme,
            request_id=uuid4(),
            method="direct",
            purpose="chat",
            outcome="ok",
            started_at=moment,
        )
        for moment in moments
    ]
    Attempt.objects.bulk_create(rows)
    expected = [
        each.request_id for each in sorted(rows, key=lambda r: (r.started_at, r.pk), reverse=True)
    ]
    seen, pages = [], [activity.page(owner, Filters())]
    while mark := pages[-1].older:
        pages.append(activity.page(owner, Filters(), before=Mark.parse(str(mark))))
    for page in pages:
        seen += [request.last.request_id for request in page.requests]
    assert seen == expected
    assert [len(page.requests) for page in pages] == [50, 50, 30]
    assert pages[0].newer is None
    back = activity.page(owner, Filters(), after=pages[2].newer)
    assert back == pages[1]
    assert activity.page(owner, Filters(), after=back.newer).newer is None


def test_what_comes_in_between_moves_no_page(owner: User, acme: Provider) -> None:
    """The page after a mark is the same however much was asked meanwhile."""
    for _ in range(activity.PAGE + 3):
        attempt(acme)
    first = activity.page(owner, Filters())
    before = activity.page(owner, Filters(), before=first.older)
    attempt(acme, started_at=timezone.now())
    assert activity.page(owner, Filters(), before=first.older) == before
    assert len(before.requests) == 3


def test_the_log_asks_the_same_however_long_it_is(
    owner_client: Client, acme: Provider, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """Session, user, providers, the page's marks, their attempts."""
    fallback(acme)
    with django_assert_num_queries(5):
        owner_client.get(LOG)
    for _ in range(20):
        fallback(acme)
    for headers in ({}, HTMX):
        with django_assert_num_queries(5):
            owner_client.get(LOG, headers=headers)


def test_htmx_gets_the_list_and_a_clean_address(owner_client: Client, acme: Provider) -> None:
    """Empty filters are not in it; going back brings the whole page."""
    attempt(acme)
    query = {"model": "m", "provider": "", "outcome": ""}
    response = owner_client.get(LOG, query, headers=HTMX)
    html = response.content.decode()
    assert "<html" not in html
    assert len(shown(html)) == 1
    assert response.headers["HX-Push-Url"] == f"{LOG}?model=m"
    back = owner_client.get(LOG, query, headers=HTMX | {"HX-History-Restore-Request": "true"})
    assert "<html" in back.content.decode()


def test_a_page_link_keeps_the_filters(owner_client: Client, acme: Provider) -> None:
    """And a mark is not kept when the filters change."""
    for _ in range(activity.PAGE + 1):
        attempt(acme)
    html = page_of(owner_client, model="m", outcome="ok")
    link = re.search(r'href="\?(model=m&amp;outcome=ok&amp;before=[\d-]+)"', html)
    assert link
    older = owner_client.get(f"{LOG}?{link[1].replace('&amp;', '&')}").content.decode()
    assert len(shown(older)) == 1
    assert 'name="before"' not in older


def test_a_trace_reports_the_whole_story(
    owner_client: Client,
    owner: User,
    acme: Provider,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    """Decision, each attempt with host, words, cause and reason, figures, the call again."""
    request_id = fallback(acme, model_id="glm-4.7", user=owner)
    with django_assert_max_num_queries(4):
        html = owner_client.get(trace_url(request_id)).content.decode()
    for words in (
        *("Direct: preferred.", "Gateway: direct failed.", ">fallback<", "2 attempts"),
        *("127.0.0.1:9", "process", "Time-out", "No answer in time.", "Too slow."),
        *("Between attempts", "250 ms", "10 in, 20 out", "$0.0020", 'href="/providers/acme/"'),
        *("curl http://testserver/v1/chat/completions", "$OPENCODE_WEB_KEY", "acme/glm-4.7"),
    ):
        assert words in html, words
    assert "sk-secret" not in html


def test_a_request_that_found_no_route_says_why(owner_client: Client, acme: Provider) -> None:
    """It went nowhere: no bar, no cause at the provider's, but the reason and the kind."""
    words = "All routes to this provider are temporarily unavailable: direct failed 5 times."
    row = attempt(
        acme,
        method="",
        outcome="overloaded",
        error_code="routes_resting",
        error_message=words,
        reason=words,
        ttft_ms=None,
    )
    html = owner_client.get(trace_url(row.request_id)).content.decode()
    assert words in html
    assert "No route available" in html
    assert "steps-time" not in html.partition("</head>")[2]
    assert "No route available" in page_of(owner_client)


def test_what_is_estimated_is_flagged(owner_client: Client, acme: Provider) -> None:
    """In the log and in the trace."""
    row = attempt(acme, usage_estimated=True)
    assert "estimated" in page_of(owner_client).partition("<tbody")[2]
    assert "estimated" in owner_client.get(trace_url(row.request_id)).content.decode()


def test_a_probe_is_no_call_to_repeat(owner_client: Client, acme: Provider) -> None:
    """It has no prompt of anybody's."""
    row = attempt(acme, purpose="probe", model_id="", ttft_ms=None)
    html = owner_client.get(trace_url(row.request_id)).content.decode()
    assert "Repeat this request" not in html


def reload_of(html: str) -> str:
    match = re.search(r"\?reload=(\d+)", html)
    return match[1] if match else ""


def test_a_trace_opened_at_once_reloads_itself(owner_client: Client, acme: Provider) -> None:
    """While something may still be written: a few times for a young one, never for an old one."""
    url = trace_url(uuid4())
    first = owner_client.get(url)
    assert (first.status_code, reload_of(first.content.decode())) == (404, "1")
    assert reload_of(owner_client.get(url, {"reload": "4"}, headers=HTMX).content.decode()) == "5"
    assert reload_of(owner_client.get(url, {"reload": "5"}, headers=HTMX).content.decode()) == ""
    young = attempt(acme, started_at=timezone.now() - timedelta(seconds=1))
    old = attempt(acme)
    html = owner_client.get(trace_url(young.request_id)).content.decode()
    assert reload_of(html) == "1"
    assert reload_of(owner_client.get(trace_url(old.request_id)).content.decode()) == ""
    partial = owner_client.get(url, {"reload": "1"}, headers=HTMX).content.decode()
    assert "<html" not in partial


@pytest.mark.parametrize("number", ["", "x", "-1", "²", "99999999999"])
def test_an_invalid_reload_number_counts_as_none(owner_client: Client, number: str) -> None:
    """It counts from the start again."""
    assert (
        reload_of(owner_client.get(trace_url(uuid4()), {"reload": number}).content.decode()) == "1"
    )


def test_an_answer_leads_to_its_trace(
    stranger_client: Client, stranger: User, acme: Provider
) -> None:
    """From the route chip of a good one and from the card of a failed one."""
    thread = Conversation.objects.create(owner=stranger)
    good = {"status": Status.DONE, "text": "Hi.", "method": "direct", "model_name": "m"}
    error = {"kind": "auth", "message": "No.", "advice": "Look.", "attempts": []}
    for fields in (good, {"status": Status.FAILED, "error": error}):
        asked = Message.objects.create(conversation=thread, role=Role.USER, text="Hello?")
        message = Message.objects.create(
            conversation=thread, parent=asked, role=Role.ASSISTANT, **fields
        )
        html = stranger_client.get(thread.get_absolute_url()).content.decode()
        assert f'href="{trace_url(message.request_id)}"' in html
        attempt(acme, request_id=message.request_id, user=stranger)
        assert stranger_client.get(trace_url(message.request_id)).status_code == 200


def test_signed_out_there_is_nothing(client: Client, db: None) -> None:
    """Both pages want a session."""
    assert client.get(LOG).status_code == 302
    assert client.get(trace_url(uuid4())).status_code == 302


def unsaved(**fields: Any) -> Attempt:
    provider = Provider(pk=1, slug="acme", name="Acme", base_url="http://h.example/v1")
    usual = {"provider": provider, "method": "direct", "outcome": "ok", "started_at": NOW}
    return Attempt(**(usual | fields))


def test_bars_share_one_axis_and_stay_on_it() -> None:
    """However short, long or overlapping the attempts are."""
    attempts = (
        unsaved(outcome="network", duration_ms=0),
        unsaved(outcome="timeout", duration_ms=10_000, started_at=NOW),
        unsaved(duration_ms=90_000, ttft_ms=89_999, started_at=NOW + timedelta(seconds=10)),
        unsaved(duration_ms=0, started_at=NOW + timedelta(seconds=100)),
    )
    steps = trace.build_timeline(RequestTrace(attempts=attempts), in_container=False)
    assert [step.began_ms for step in steps] == [0, 0, 10_000, 100_000]
    for step in steps:
        assert step.waiting > 0
        assert 0 <= step.x <= step.answer_x <= step.answer_x + step.answering <= AXIS
    assert steps[1].waiting == pytest.approx(AXIS / 10)


def test_a_failure_after_the_first_token_broke_off() -> None:
    """No fallback was possible then, and the word says why."""
    assert trace.label_outcome(unsaved(outcome="timeout", ttft_ms=5)).word == "Broke off: time-out"
    assert trace.label_outcome(unsaved(outcome="timeout")).word == "Time-out"
    assert trace.label_outcome(unsaved(outcome="ok", ttft_ms=5)).word == "Answered"


def test_an_unknown_outcome_is_shown_as_it_is() -> None:
    """A row of a newer version breaks no page."""
    strange = unsaved(outcome="melted")
    assert trace.label_outcome(strange) == trace.OutcomeLabel("unknown", "melted")
    assert trace.diagnose_attempt(strange, in_container=False) is None


def test_no_condition_asks_for_a_whole_table(owner: User, db: None) -> None:
    """A page of the log is read from the index on time, from where its mark stands.

    Without a sort, only that index has the order, whatever PostgreSQL's statistics are.
    """
    mark = Mark(at=NOW, pk=5)
    with connection.cursor() as cursor:
        for way in ("seqscan", "bitmapscan", "sort", "incremental_sort"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
    found = Attempt.objects.filter(activity._older_than(mark)).order_by("-started_at", "-pk")
    plan = found[:51].explain()
    assert "attempt_time" in plan
    assert re.search(r"Index Cond: \(started_at <= ", plan), plan
