"""The conversation's pages. Each view: get, form, flow, render; nothing here waits for a provider.

With htmx a view answers the parts of the page that change; without it, the page or a redirect.
"""

import secrets
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from chat import choices, fragments, history, turns
from chat.forms import MessageForm, TitleForm, find_models
from chat.models import Conversation, Message, Role, Status
from chat.picker import Pick, pick_for, pick_named
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel, Provider

BUSY = "The last answer is not finished. Wait for it, or stop it."
HAS_FOLLOW_UP = "Messages follow this answer. Reload the page to see the whole conversation."
UNUSABLE = "The model of this answer is no longer offered. Pick another model below."


@require_GET
def index(request: PageRequest) -> HttpResponse:
    latest = Conversation.objects.of(request.user).first()
    if latest is None:
        return new(request)
    return redirect("chat:conversation", latest.pk)


@require_GET
def new(request: PageRequest) -> HttpResponse:
    return _render_page(request, None)


@require_GET
def conversation(request: PageRequest, conversation_id: int) -> HttpResponse:
    return _render_page(request, _get_conversation(request, conversation_id))


@require_GET
def listing(request: PageRequest) -> HttpResponse:
    """The list as far as the page shows it; or, with `before`, the page of older ones."""
    if key := request.GET.get("before"):
        ctx = {"older": history.page_before(request.user, key), "current": _current(request)}
        return render(request, "chat/conversation.html#older", ctx)
    ctx = _list_context(request, _current(request), through=request.GET.get("through", ""))
    return render(request, "chat/conversation.html#list", ctx)


@require_GET
def find(request: PageRequest) -> HttpResponse:
    """Search all conversations, for the palette."""
    ctx = {"conversations": history.find(request.user, request.GET.get("q", ""))}
    return render(request, "chat/changes.html#found", ctx)


@require_GET
def models(request: PageRequest) -> HttpResponse:
    """Search the models in use, as items of the picker's menu."""
    ctx = {"models": find_models(request.GET.get("q", ""))}
    return render(request, "chat/changes.html#models", ctx)


@require_GET
def message(request: PageRequest, message_id: int) -> HttpResponse:
    shown = fragments.with_attempts([_get_message(request, message_id)])[0]
    return render(request, "chat/message.html#message", {"message": shown})


@require_POST
def send(request: PageRequest, conversation_id: int | None = None) -> HttpResponse:
    """Send a message; without `conversation_id`, in a new conversation."""
    held = _get_conversation(request, conversation_id) if conversation_id else None
    form = MessageForm(request.POST, user=request.user)
    if not form.is_valid():
        return _refuse_message(request, held, form)
    try:
        reply = turns.start(request.user, held, *form.question())
    except turns.StillAnswering:
        form.add_error(None, BUSY)
        return _refuse_message(request, held, form)
    except turns.AlreadySent as sent:
        return _go_to(request, sent.reply.conversation)
    if held is not None and request.htmx:
        return _render_reply(request, reply, with_question=True)
    return _go_to(request, reply.conversation)


@require_POST
def stop(request: PageRequest, turn_id: int) -> HttpResponse:
    turn = _get_message(request, turn_id)
    turns.stop(turn)
    if not request.htmx:
        return redirect(turn.conversation)
    turn.refresh_from_db()
    # A running turn's end comes over its stream, from the runner.
    return (
        HttpResponse(status=204)
        if turn.is_active
        else HttpResponse(fragments.render_finished(turn))
    )


@require_POST
def retry(request: PageRequest, message_id: int) -> HttpResponse:
    """Answer again with the model picked in the composer, else with the same one."""
    reply = _get_message(request, message_id)
    picked = request.POST.get("model", "")
    choice = choices.find(picked or _value_of(reply))
    if choice is None:
        return _refuse_reply(request, reply, UNUSABLE)
    return _answer_again(
        request,
        reply,
        lambda: turns.retry(reply, choice.language_model, choice.virtual_model),
    )


@require_POST
def resume(request: PageRequest, message_id: int) -> HttpResponse:
    """Continue the answer with the model that wrote it."""
    reply = _get_message(request, message_id)
    length = request.POST.get("length", "")
    if choices.find(_value_of(reply)) is None:
        return _refuse_reply(request, reply, UNUSABLE)
    shown = int(length) if length.isdecimal() else 0
    return _answer_again(request, reply, lambda: turns.resume(reply, shown))


def _value_of(reply: Message) -> str:
    return choices.value_of(reply.language_model_id, reply.virtual_model_id)


def _answer_again(
    request: PageRequest, reply: Message, create_reply: Callable[[], Message]
) -> HttpResponse:
    """Show the new answer in place of the old one, or why there is none."""
    try:
        new_reply = create_reply()
    except turns.StillAnswering:
        return _refuse_reply(request, reply, BUSY)
    except turns.HasFollowUp:
        return _refuse_reply(request, reply, HAS_FOLLOW_UP)
    except turns.AlreadySent as sent:
        return _go_to(request, sent.reply.conversation)
    if request.htmx:
        return _render_reply(request, new_reply, replaces=reply.pk)
    return redirect(reply.conversation)


def _refuse_reply(request: PageRequest, reply: Message, problem: str) -> HttpResponse:
    if request.htmx:
        ctx = {"problems": [problem]}
        return render(request, "chat/changes.html#refused", ctx, status=422)
    messages.error(request, problem)
    return redirect(reply.conversation)


@require_http_methods(["GET", "POST"])
def rename(request: PageRequest, conversation_id: int) -> HttpResponse:
    held = _get_conversation(request, conversation_id)
    form = TitleForm(request.POST or None, instance=held)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect(held)
    ctx = {"form": form, "conversation": held}
    return render(request, "chat/rename.html", ctx, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def delete(request: PageRequest, conversation_id: int) -> HttpResponse:
    held = _get_conversation(request, conversation_id)
    if request.method == "POST":
        for turn in held.messages.active():
            turns.stop(turn)
        held.delete()
        messages.success(request, "The conversation was deleted.")
        return redirect("chat:index")
    ctx = {"conversation": held, "count": held.messages.count()}
    return render(request, "chat/delete.html", ctx)


def _get_conversation(request: PageRequest, pk: int) -> Conversation:
    return get_object_or_404(Conversation.objects.of(request.user).with_model(), pk=pk)


def _get_message(request: PageRequest, pk: int) -> Message:
    """A reply of the user's own."""
    replies = Message.objects.of(request.user).filter(role=Role.ASSISTANT)
    return get_object_or_404(replies.select_related("conversation", "language_model"), pk=pk)


def _render_page(
    request: PageRequest, held: Conversation | None, form: MessageForm | None = None
) -> HttpResponse:
    thread = fragments.with_attempts(turns.thread(held)) if held else []
    pick = _initial_pick(request, held)
    initial = {"model": pick.model_id, "text": _unanswered_text(thread), "token": _new_token()}
    form = form or MessageForm(initial=initial, user=request.user, pick=bool(pick.problem))
    ctx = _list_context(
        request, held.pk if held else None, before=request.GET.get("before", "")
    ) | {
        "conversation": held,
        "thread": turns.mark_switches(thread),
        "active": next((each for each in reversed(thread) if each.is_active), None),
        "form": form,
        "pick": pick,
        "problems": form.problems(),
        "lacking": "" if thread else _missing_setup(),
    }
    status = 422 if form.errors else 200
    return render(request, "chat/conversation.html", ctx, status=status)


def _initial_pick(request: PageRequest, held: Conversation | None) -> Pick:
    """As a link from the Models page names it, else as the conversation goes on."""
    named = request.GET.get("model", "")
    return pick_named(named) if choices.is_value(named) else pick_for(request.user, held)


def _new_token() -> str:
    """Names one form, so that sending it twice makes one turn."""
    return secrets.token_urlsafe(16)


def _go_to(request: PageRequest, held: Conversation) -> HttpResponse:
    """Send the browser to the conversation's page."""
    if request.htmx:
        return HttpResponseClientRedirect(held.get_absolute_url())
    return redirect(held)


def _unanswered_text(thread: list[Message]) -> str:
    """The last question, where its answer failed: the composer offers it again."""
    failed = thread and thread[-1].status == Status.FAILED
    return thread[-2].text if failed else ""


def _current(request: PageRequest) -> int | None:
    """The conversation that the list's page shows."""
    at = request.GET.get("at", "")
    return int(at) if at.isdecimal() else None


def _list_context(
    request: PageRequest, current: int | None, *, through: str = "", before: str = ""
) -> dict[str, Any]:
    """The list's context; the list refreshes while a turn runs that this page does not follow."""
    user = request.user
    older = history.page_before(user, before) if before else history.first_page(user, through)
    elsewhere = Message.objects.of(user).active().exclude(conversation=current)
    return {
        "older": older,
        "before": before,
        "current": current,
        "elsewhere": not before and elsewhere.exists(),
    }


def _missing_setup() -> str:
    """The set-up step that is missing before anybody can chat."""
    if not Provider.objects.usable().exists():
        return "provider"
    return "" if LanguageModel.objects.usable().exists() else "model"


def _refuse_message(
    request: PageRequest, held: Conversation | None, form: MessageForm
) -> HttpResponse:
    """Show the problems and keep what was typed: on the page with htmx, else in the form."""
    if not request.htmx:
        return _render_page(request, held, form)
    return render(request, "chat/changes.html#refused", {"problems": form.problems()}, status=422)


def _render_reply(
    request: PageRequest,
    reply: Message,
    *,
    with_question: bool = False,
    replaces: int | None = None,
) -> HttpResponse:
    thread = turns.mark_switches(fragments.with_attempts(turns.thread(reply.conversation)))
    ctx = {
        "added": thread[-2:] if with_question else thread[-1:],
        "replaces": replaces,
        "active": reply,
        "conversation": reply.conversation,
        "token": _new_token(),
    }
    return render(request, "chat/changes.html#reply", ctx)
