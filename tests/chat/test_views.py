"""The conversation's pages: with htmx and without, for the owner and never for strangers."""

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from chat import forms, history, turns
from chat.models import Conversation, Message, Status
from providers.models import Attempt, Favourite, LanguageModel, Provider
from providers.operations import lifecycle

Make = Callable[..., Message]
HTMX = {"HX-Request": "true"}
TOKEN = re.compile(r'name="token"[^>]*?value="([^"]+)"')
TITLE = re.compile(r'<span class="truncate" dir="auto">([^<]+)</span>')
OLDER = re.compile(r'href="\?before=([0-9-]+)"')

MakeProvider = Callable[..., Provider]


def url(name: str, *args: object) -> str:
    return reverse(f"chat:{name}", args=args)


def test_without_a_provider_the_page_says_what_to_do_next(owner_client: Client) -> None:
    """And offers no composer that could not work."""
    html = owner_client.get(url("index")).content.decode()
    assert "No providers yet" in html
    assert reverse("providers:new") in html
    assert 'id="composer"' not in html


def test_a_provider_without_models_is_reported_apart(
    owner_client: Client, model: LanguageModel
) -> None:
    """The next step is another one then."""
    LanguageModel.objects.all().delete()
    assert "No models yet" in owner_client.get(url("index")).content.decode()


def test_the_index_opens_the_latest_conversation(owner_client: Client, make_turn: Make) -> None:
    """The one that was spoken in last."""
    make_turn()
    latest = make_turn()
    response = owner_client.get(url("index"))
    assert response.headers["Location"] == url("conversation", latest.conversation_id)


def test_a_new_chat_begins_with_the_model_used_last(owner_client: Client, make_turn: Make) -> None:
    """Nobody picks the same model every day."""
    turn = make_turn()
    LanguageModel.objects.create(
        provider=Provider.objects.get(), model_id="aaa", name="aaa"
    )  # first by name
    html = owner_client.get(url("new")).content.decode()
    assert f'<option value="{turn.language_model_id}" selected' in html


def test_the_models_are_grouped_by_provider(
    owner_client: Client, model: LanguageModel, make_provider: Callable[..., Provider]
) -> None:
    """Without JavaScript it is a plain list."""
    make_provider("Zeta", "huge")
    html = owner_client.get(url("new")).content.decode()
    assert '<optgroup label="Acme">' in html
    assert '<optgroup label="Zeta">' in html


def test_the_picker_stays_small_and_its_search_finds_the_rest(
    owner_client: Client, owner: User, model: LanguageModel
) -> None:
    """Favourites first; exactly what is in use, whether it is shown or found."""
    provider = model.provider
    LanguageModel.objects.bulk_create(
        LanguageModel(provider=provider, model_id=f"m{n:03}", name=f"m{n:03}", enabled=n != 260)
        for n in range(300)
    )
    star = LanguageModel.objects.get(model_id="m299")
    Favourite.objects.create(user=owner, model=star)
    html = owner_client.get(url("new")).content.decode()
    assert html.count("<option") <= forms.MAX_SHOWN + 2
    assert html.index('label="Favourites"') < html.index(f'value="{star.pk}"')
    assert html.index(f'value="{star.pk}"') < html.index(f'label="{provider.name}"')
    assert f'data-search="{url("models")}"' in html
    in_use = LanguageModel.objects.usable().count()
    shown = len({*re.findall(r'<option value="(\d+)"', html)})
    assert f'data-others="{in_use - shown}"' in html
    assert f"m299 · {provider.name}" in html
    assert 'data-status="unknown"' in html
    found = owner_client.get(url("models"), {"q": "m26"}).content.decode()
    assert [f"m{n}" in found for n in (260, 261, 269)] == [False, True, True]
    hidden = LanguageModel.objects.get(model_id="m261")
    owner_client.post(url("first"), {"text": "Hello", "model": hidden.pk})
    assert Message.objects.get(role="assistant").language_model == hidden


def test_the_picker_lists_exactly_what_is_in_use(
    owner_client: Client, model: LanguageModel, make_provider: MakeProvider
) -> None:
    """Shown, found, or asked for: nothing switched off, missing, paused or removed."""
    here = model.provider.language_models
    off = here.create(model_id="off", name="off", enabled=False)
    missing = here.create(model_id="missing", name="missing", missing_since=timezone.now())
    paused, gone = make_provider("Paused", "paused"), make_provider("Gone", "gone")
    lifecycle.pause(paused)
    lifecycle.remove(gone)
    away = [off, missing, paused.language_models.get(), gone.language_models.get()]
    picker = forms.likely_models(User.objects.get(username="alice"))
    assert [each for _, models in picker for each in models] == [model]
    assert list(forms.find_models("")) == [model]
    for each in away:
        owner_client.post(url("first"), {"text": "Hello", "model": each.pk})
    assert not Message.objects.exists()


def test_a_link_may_pick_the_model(owner_client: Client, model: LanguageModel) -> None:
    """As from the Models page."""
    other = LanguageModel.objects.create(provider=model.provider, model_id="zz", name="zz")
    html = owner_client.get(url("new"), {"model": other.pk}).content.decode()
    assert f'<option value="{other.pk}" selected' in html


def test_a_first_message_opens_its_conversation(owner_client: Client, model: LanguageModel) -> None:
    """Without htmx: a redirect to the page."""
    response = owner_client.post(url("first"), {"text": "Hello\r\nyou", "model": model.pk})
    conversation = Conversation.objects.get()
    assert response.headers["Location"] == url("conversation", conversation.pk)
    assert [m.text for m in turns.thread(conversation)] == ["Hello\nyou", ""]


def test_a_first_message_with_htmx_goes_to_the_new_address(
    owner_client: Client, model: LanguageModel
) -> None:
    """By htmx's own header."""
    form = {"text": "Hello", "model": model.pk}
    response = owner_client.post(url("first"), form, headers=HTMX)
    assert response.headers["HX-Redirect"] == url("conversation", Conversation.objects.get().pk)


def test_a_message_with_htmx_adds_two_bubbles_and_a_stop_button(
    owner_client: Client, make_turn: Make
) -> None:
    """The second bubble connects to its stream."""
    turn = make_turn(status=Status.DONE, text="Hi.")
    form = {"text": "And?", "model": turn.language_model_id}
    response = owner_client.post(url("send", turn.conversation_id), form, headers=HTMX)
    html = response.content.decode()
    reply = Message.objects.get(status=Status.PENDING)
    assert html.count("<article") == 2
    assert f'hx-sse:connect="/chat/turns/{reply.pk}/events/"' in html
    assert "composer-stop" in html
    assert url("stop", reply.pk) in html


def test_an_invalid_message_keeps_what_was_typed(owner_client: Client, make_turn: Make) -> None:
    """The model is gone; the text is not."""
    turn = make_turn(status=Status.DONE)
    form = {"text": "A long thought", "model": 0}
    response = owner_client.post(url("send", turn.conversation_id), form)
    assert response.status_code == 422
    html = response.content.decode()
    assert "A long thought</textarea>" in html
    assert "no longer offered" in html
    assert Message.objects.count() == 2


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_form_sent_twice_opens_the_same_conversation(
    owner_client: Client, model: LanguageModel, headers: dict[str, str]
) -> None:
    """Two quick Enters, with and without JavaScript."""
    form = {"text": "Hello", "model": model.pk, "token": "form-1"}
    places = [owner_client.post(url("first"), form, headers=headers).headers for _ in range(2)]
    at = url("conversation", Conversation.objects.get().pk)
    assert [each.get("HX-Redirect") or each["Location"] for each in places] == [at, at]


def test_each_page_and_each_sent_message_names_a_new_form(
    owner_client: Client, make_turn: Make
) -> None:
    """The same words may be sent again on purpose."""
    turn = make_turn(status=Status.DONE)
    at = url("conversation", turn.conversation_id)
    form = {"text": "Hello", "model": turn.language_model_id, "token": "form-1"}
    answer = owner_client.post(url("send", turn.conversation_id), form, headers=HTMX)
    pages = [owner_client.get(at).content.decode(), answer.content.decode()]
    pages.append(owner_client.get(url("new")).content.decode())
    tokens = {TOKEN.search(page)[1] for page in pages}  # type: ignore[index]
    assert len(tokens) == 3


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_message_over_the_limit_is_refused_whole(
    owner_client: Client, model: LanguageModel, headers: dict[str, str]
) -> None:
    """The limit is named beside the field, nothing is stored, and no browser cuts the text."""
    text = "\r\n".join(["x" * 59] * 20_000)
    form = {"text": text, "model": model.pk}
    response = owner_client.post(url("first"), form, headers=headers)
    html = response.content.decode()
    assert response.status_code == 422
    assert "1,199,999 characters. The limit is 400,000." in html
    assert not Message.objects.exists()
    if not headers:
        assert text.replace("\r\n", "\n") in html.replace("\r\n", "\n")
        assert "maxlength" not in html


def test_the_longest_message_is_sent_whole(owner_client: Client, model: LanguageModel) -> None:
    """Also where each of its characters takes twelve bytes on the way."""
    text = "\U0001f600" * forms.MAX_CHARACTERS
    form = urlencode({"text": text, "model": model.pk})
    form_type = "application/x-www-form-urlencoded"
    assert owner_client.post(url("first"), form, content_type=form_type).status_code == 302
    assert Message.objects.get(role="user").text == text


def removed(model: LanguageModel) -> None:
    lifecycle.remove(model.provider)


def purged(model: LanguageModel) -> None:
    model.provider.delete()


def paused(model: LanguageModel) -> None:
    lifecycle.pause(model.provider)


def missing(model: LanguageModel) -> None:
    LanguageModel.objects.filter(pk=model.pk).update(missing_since=timezone.now())


def switched_off(model: LanguageModel) -> None:
    LanguageModel.objects.filter(pk=model.pk).update(enabled=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (removed, "The provider Acme was removed."),
        (purged, "The model tiny of Acme was removed."),
        (paused, "The provider Acme is paused."),
        (missing, "Acme no longer offers tiny."),
        (switched_off, "tiny is switched off at Acme."),
    ],
)
def test_a_conversation_whose_model_cannot_answer_asks_for_a_pick(
    owner_client: Client,
    make_turn: Make,
    make_provider: MakeProvider,
    change: Callable[[LanguageModel], None],
    words: str,
) -> None:
    """It says why, and never goes on with another account by itself; nor does a new one."""
    turn = make_turn(status=Status.DONE)
    make_provider("Zeta", "huge")
    assert turn.language_model is not None
    change(turn.language_model)
    for at in (url("conversation", turn.conversation_id), url("new")):
        html = owner_client.get(at).content.decode()
        assert words in html
        assert '<option value="" selected>Pick a model</option>' in html
        assert html.count(" selected") == 1
    send = url("send", turn.conversation_id)
    refused = owner_client.post(send, {"text": "Go on", "model": ""})
    assert refused.status_code == 422
    assert '<option value="" selected>Pick a model</option>' in refused.content.decode()
    assert Message.objects.count() == 2


def test_an_empty_message_is_reported_with_htmx(owner_client: Client, make_turn: Make) -> None:
    """The sentence goes beside the composer; the rest of the page is left alone."""
    turn = make_turn(status=Status.DONE)
    form = {"text": " \n", "model": turn.language_model_id}
    response = owner_client.post(url("send", turn.conversation_id), form, headers=HTMX)
    assert response.status_code == 422
    assert "Write a message first." in response.content.decode()
    assert "<article" not in response.content.decode()


def test_a_message_while_an_answer_is_under_way_is_refused(
    owner_client: Client, make_turn: Make
) -> None:
    """And kept in the composer."""
    turn = make_turn()
    form = {"text": "Quick!", "model": turn.language_model_id}
    response = owner_client.post(url("send", turn.conversation_id), form)
    assert response.status_code == 422
    assert "Quick!</textarea>" in response.content.decode()


def test_the_page_of_a_running_turn_works_without_javascript(
    owner_client: Client, make_turn: Make
) -> None:
    """It shows what is saved, refreshes itself, and has a plain Stop."""
    turn = make_turn(status=Status.RUNNING, text="Half **an**")
    html = owner_client.get(url("conversation", turn.conversation_id)).content.decode()
    assert '<noscript><meta http-equiv="refresh"' in html
    assert "<strong>an</strong>" in html
    assert f'action="{url("stop", turn.pk)}"' in html
    assert 'data-state="running"' in html


def test_a_page_without_scripts_shows_what_is_waited_for(
    owner_client: Client, make_turn: Make
) -> None:
    """The route, since when, what is next; before a call went out the model alone."""
    turn = make_turn()
    at = url("conversation", turn.conversation_id)
    assert "Waiting for tiny</p>" in owner_client.get(at).content.decode()
    since = timezone.now() - timedelta(seconds=3)
    kept = {"route": "tiny on Acme, direct", "since": since.isoformat(), "seconds": 10}
    Message.objects.filter(pk=turn.pk).update(
        status=Status.RUNNING, waiting=kept | {"next": "gateway", "failed": ""}
    )
    text = re.sub(r"<[^>]*>", "", owner_client.get(at).content.decode())
    assert re.search(r"Waiting for tiny on Acme, direct for [34] s; gateway in [67] s", text)


def test_a_finished_reply_shows_its_route(owner_client: Client, make_turn: Make) -> None:
    """Which model, over which route, how fast, for how much, and why."""
    turn = make_turn(
        status=Status.DONE,
        text="Hi.",
        html="<p>Hi.</p>",
        model_name="tiny-2",
        method="gateway",
        reason="direct failed: connection refused",
        fallback=True,
        ttft_ms=1240,
        cost="0.0021",
    )
    Attempt.objects.create(
        request_id=turn.request_id,
        provider=Provider.objects.get(),
        method="direct",
        outcome="network",
        error_message="Connection refused.",
        purpose="chat",
    )
    html = owner_client.get(url("conversation", turn.conversation_id)).content.decode()
    for words in (
        "tiny-2",
        "via gateway",
        "first token 1.2 s",
        "fallback",
        "$0.0021",
        "Direct failed: connection refused",
    ):
        assert words in html
    assert 'data-tone="amber"' in html
    assert "network: Connection refused." in html


def test_a_failed_reply_says_what_failed_and_what_to_do(
    owner_client: Client, make_turn: Make
) -> None:
    """For each route, in plain words, with a way on."""
    error = {
        "kind": "network",
        "message": "Network error - check endpoint and connection",
        "advice": "Try it later.",
        "attempts": [
            {"method": "direct", "kind": "network", "status": None, "message": "Refused.", "ms": 4},
            {"method": "gateway", "kind": "gateway", "status": 502, "message": "Bad.", "ms": 40},
        ],
    }
    turn = make_turn(status=Status.FAILED, error=error)
    html = owner_client.get(url("conversation", turn.conversation_id)).content.decode()
    for words in ("No answer received", "Refused.", "HTTP 502", "Try it later.", "Try again"):
        assert words in html
    assert "Hello?</textarea>" in html


def test_an_interrupted_reply_can_be_continued(owner_client: Client, make_turn: Make) -> None:
    """The text is kept, the reason is shown."""
    error = {"kind": "lost", "message": "It broke.", "advice": "Try again.", "attempts": []}
    turn = make_turn(status=Status.INTERRUPTED, text="Half", html="<p>Half</p>", error=error)
    html = owner_client.get(url("conversation", turn.conversation_id)).content.decode()
    for words in ("<p>Half</p>", "It broke.", "Continue</button>", "Try again</button>"):
        assert words in html


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_cut_answer_goes_on_in_the_same_message(
    owner_client: Client, make_turn: Make, headers: dict[str, str]
) -> None:
    """No second question; pressing twice does nothing more; the text stays."""
    turn = make_turn(status=Status.DONE, text="Half an ans", finish_reason="max_tokens")
    at = url("conversation", turn.conversation_id)
    html = owner_client.get(at).content.decode()
    assert "Cut off at the token limit." in html
    assert 'name="length" value="11"' in html
    response = owner_client.post(url("continue", turn.pk), {"length": 11}, headers=headers)
    assert response.status_code == (200 if headers else 302)
    turn.refresh_from_db()
    assert (turn.status, turn.text, turn.continued_from) == (Status.PENDING, "Half an ans", 11)
    Message.objects.filter(pk=turn.pk).update(status=Status.DONE, text="Half an answer")
    again = owner_client.post(url("continue", turn.pk), {"length": 11}, headers=headers)
    assert (again.headers.get("HX-Redirect") or again.headers["Location"]) == at
    turn.refresh_from_db()
    assert (turn.status, Message.objects.count()) == (Status.DONE, 2)


def test_a_cut_answer_goes_on_only_with_its_own_model(
    owner_client: Client, make_turn: Make
) -> None:
    """Paused meanwhile: it says so, and the answer stays as it is."""
    turn = make_turn(status=Status.DONE, text="Half", finish_reason="length")
    lifecycle.pause(Provider.objects.get())
    response = owner_client.post(url("continue", turn.pk), {"length": 4}, headers=HTMX)
    assert "no longer offered" in response.content.decode()
    assert not Message.objects.active().exists()


def test_a_filtered_answer_cannot_go_on(owner_client: Client, make_turn: Make) -> None:
    """It says who stopped it."""
    turn = make_turn(status=Status.DONE, text="Half", finish_reason="content_filter")
    html = owner_client.get(url("conversation", turn.conversation_id)).content.decode()
    assert "Stopped by the vendor&#x27;s filter." in html
    assert "Continue</button>" not in html


def test_stop_without_htmx_returns_to_the_page(owner_client: Client, make_turn: Make) -> None:
    """The turn was waiting: it ends at once."""
    turn = make_turn()
    response = owner_client.post(url("stop", turn.pk))
    turn.refresh_from_db()
    assert response.headers["Location"] == url("conversation", turn.conversation_id)
    assert turn.status == Status.STOPPED


def test_stop_with_htmx_leaves_a_running_turn_to_its_stream(
    owner_client: Client, make_turn: Make
) -> None:
    """Nothing to swap yet; of a waiting turn the end is known at once."""
    running = make_turn(status=Status.RUNNING)
    assert owner_client.post(url("stop", running.pk), headers=HTMX).status_code == 204
    waiting = make_turn()
    html = owner_client.post(url("stop", waiting.pk), headers=HTMX).content.decode()
    assert f'hx-target="#message-{waiting.pk}"' in html


def test_retry_puts_another_answer_in_place(owner_client: Client, make_turn: Make) -> None:
    """By the model that is picked now."""
    turn = make_turn(status=Status.FAILED)
    other = LanguageModel.objects.create(
        provider=Provider.objects.get(), model_id="big", name="big"
    )
    response = owner_client.post(url("retry", turn.pk), {"model": other.pk}, headers=HTMX)
    assert f'hx-target="#message-{turn.pk}"' in response.content.decode()
    again = Message.objects.get(status=Status.PENDING)
    assert (again.parent_id, again.model_name) == (turn.parent_id, "big")


def test_retry_without_htmx_uses_the_same_model(owner_client: Client, make_turn: Make) -> None:
    """A plain form and a redirect."""
    turn = make_turn(status=Status.FAILED)
    response = owner_client.post(url("retry", turn.pk))
    assert response.headers["Location"] == url("conversation", turn.conversation_id)
    assert Message.objects.get(status=Status.PENDING).model_name == "tiny"


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_retry_by_a_model_that_is_gone_says_so(
    owner_client: Client, make_turn: Make, headers: dict[str, str]
) -> None:
    """Nothing is started."""
    turn = make_turn(status=Status.FAILED)
    LanguageModel.objects.all().delete()
    response = owner_client.post(url("retry", turn.pk), headers=headers, follow=True)
    assert "no longer offered" in response.content.decode()
    assert not Message.objects.active().exists()


def test_a_conversation_can_be_renamed(owner_client: Client, make_turn: Make) -> None:
    """An empty name is an error at its field."""
    conversation = make_turn().conversation
    at = url("rename", conversation.pk)
    assert owner_client.get(at).status_code == 200
    assert owner_client.post(at, {"title": ""}).status_code == 422
    assert owner_client.post(at, {"title": "Tea"}).status_code == 302
    conversation.refresh_from_db()
    assert conversation.title == "Tea"


def test_a_conversation_is_deleted_after_a_question(owner_client: Client, make_turn: Make) -> None:
    """What runs in it is stopped first."""
    turn = make_turn()
    at = url("delete", turn.conversation_id)
    assert "2 messages" in owner_client.get(at).content.decode()
    assert Conversation.objects.exists()
    owner_client.post(at)
    assert not Conversation.objects.exists()


def test_a_message_can_be_had_alone(owner_client: Client, make_turn: Make) -> None:
    """For a page whose stream could not be opened."""
    turn = make_turn()
    html = owner_client.get(url("message", turn.pk)).content.decode()
    assert html.strip().startswith(f'<article class="message" id="message-{turn.pk}"')


def test_the_list_looks_again_only_while_something_else_runs(
    owner_client: Client, make_turn: Make
) -> None:
    """A quiet page asks for nothing."""
    turn = make_turn()
    at = url("list")
    assert "every 4s" in owner_client.get(at).content.decode()
    assert "every 4s" not in owner_client.get(f"{at}?at={turn.conversation_id}").content.decode()


def test_every_conversation_is_reached_page_by_page(
    owner_client: Client, owner: User, stranger: User
) -> None:
    """With htmx as the list is scrolled, without it by a link; each once, none of a stranger's."""
    moment = timezone.now()
    Conversation.objects.create(owner=stranger, title="not mine")
    Conversation.objects.bulk_create(
        Conversation(owner=owner, title=f"c{n:03}", updated_at=moment - timedelta(minutes=n // 3))
        for n in range(120)
    )
    found: list[str] = []
    at = url("new")
    while at:
        html = owner_client.get(at).content.decode()
        found += TITLE.findall(html)
        key = OLDER.search(html)
        at = f"{url('list')}?before={key[1]}" if key else ""
    assert sorted(found) == [f"c{n:03}" for n in range(120)]
    plain = owner_client.get(url("new")).content.decode()
    second = owner_client.get(f"{url('new')}?before={OLDER.search(plain)[1]}")  # type: ignore[index]
    assert not set(TITLE.findall(plain)) & set(TITLE.findall(second.content.decode()))


def test_the_list_that_looks_again_keeps_what_was_shown(
    owner_client: Client, owner: User, make_turn: Make
) -> None:
    """A conversation that is new meanwhile pushes none of the old ones out of sight."""
    for n in range(50):
        Conversation.objects.create(owner=owner, title=f"c{n:03}")
    last = Conversation.objects.get(title="c000")
    through = history.first_page(owner).last
    make_turn("Newest")
    html = owner_client.get(url("list"), {"through": through}).content.decode()
    assert {"Newest", last.title} <= set(TITLE.findall(html))


@pytest.mark.parametrize("key", ["x", "1-", "-1", "99999999999999999-1", "1-999999999999999999"])
def test_a_place_that_is_none_shows_a_page(owner_client: Client, make_turn: Make, key: str) -> None:
    """An address that somebody changed by hand."""
    make_turn()
    for name in ("new", "list"):
        assert owner_client.get(url(name), {"before": key}).status_code == 200
    assert owner_client.get(url("list"), {"through": key}).status_code == 200


def test_the_palette_finds_any_conversation_by_its_title(
    owner_client: Client, owner: User, stranger: User
) -> None:
    """Every word, in any order and case; far beyond what the list shows; nobody else's."""
    Conversation.objects.create(owner=owner, title="Old notes on <Tea> ceremonies")
    Conversation.objects.create(owner=stranger, title="Tea for strangers")
    for n in range(60):
        Conversation.objects.create(owner=owner, title=f"c{n:03}")
    html = owner_client.get(url("find"), {"q": "tea OLD"}).content.decode()
    assert "Old notes on &lt;Tea&gt; ceremonies" in html
    assert html.count("<li>") == 1
    assert owner_client.get(url("find"), {"q": "a\0b %"}).status_code == 200
    assert owner_client.get(url("find")).content.decode().count("<li>") == history.MAX_RESULTS


def test_the_number_of_queries_does_not_grow_with_the_page(
    owner: User,
    owner_client: Client,
    make_turn: Make,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    """Fifty conversations, a thread of twenty messages: the same handful of queries."""
    turn = make_turn(status=Status.DONE, text="Hi.", method="direct")
    assert turn.language_model is not None
    for _ in range(9):
        next_turn = turns.start(owner, turn.conversation, "And?", turn.language_model)
        Message.objects.filter(pk=next_turn.pk).update(status=Status.DONE, method="direct")
    for _ in range(20):
        make_turn()
    with django_assert_max_num_queries(10):
        owner_client.get(url("conversation", turn.conversation_id))
    with django_assert_max_num_queries(4):
        owner_client.get(url("list"))


@pytest.mark.parametrize(
    ("name", "by_turn", "method"),
    [
        ("conversation", False, "get"),
        ("send", False, "post"),
        ("rename", False, "get"),
        ("delete", False, "post"),
        ("message", True, "get"),
        ("stop", True, "post"),
        ("retry", True, "post"),
        ("continue", True, "post"),
    ],
)
def test_a_stranger_finds_nothing(
    stranger_client: Client, make_turn: Make, name: str, by_turn: bool, method: str
) -> None:
    """Not even that it exists."""
    turn = make_turn()
    at = url(name, turn.pk if by_turn else turn.conversation_id)
    assert getattr(stranger_client, method)(at).status_code == 404
    assert Conversation.objects.exists()


def test_a_question_is_no_turn(owner_client: Client, make_turn: Make) -> None:
    """Only replies can be stopped or tried again."""
    turn = make_turn()
    assert owner_client.post(url("retry", turn.parent_id)).status_code == 404


def test_signing_in_is_required(client: Client, make_turn: Make) -> None:
    """The middleware sees to it."""
    at = url("conversation", make_turn().conversation_id)
    assert client.get(at).headers["Location"].startswith(reverse("sign-in"))
