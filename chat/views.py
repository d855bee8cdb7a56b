"""The conversation's pages. Each view: get, form, flow, render; nothing here waits for a provider.

With htmx a view answers the parts of the page that change; without it, the page or a redirect.
"""

import secrets
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from chat import fragments, history, turns
from chat.forms import MessageForm, TitleForm, found
from chat.models import Conversation, Message, Role, Status
from chat.picker import Pick, pick_for, pick_named
from providers.models import LanguageModel, Provider

BUSY = "The last answer is not finished. Wait for it, or stop it first."
WENT_ON = "The conversation went on after this answer. Reload the page to see it whole."
UNUSABLE = "The model of this answer is not offered any more. Pick another one below."


class Request(HttpRequest):
    """Every request here is a signed-in user's: the middleware sees to it."""

    user: User
    htmx: HtmxDetails


@require_GET
def index(request: Request) -> HttpResponse:
    latest = Conversation.objects.of(request.user).first()
    if latest is None:
        return new(request)
    return redirect("chat:conversation", latest.pk)


@require_GET
def new(request: Request) -> HttpResponse:
    return _page(request, None)


@require_GET
def conversation(request: Request, conversation_id: int) -> HttpResponse:
    return _page(request, _conversation(request, conversation_id))


@require_GET
def listing(request: Request) -> HttpResponse:
    """The list as it is now, as far as the page shows it; or, with `before`, what is older."""
    if key := request.GET.get("before"):
        ctx = {"older": history.page_before(request.user, key), "current": _current(request)}
        return render(request, "chat/conversation.html#older", ctx)
    ctx = _listed(request, _current(request), through=request.GET.get("through", ""))
    return render(request, "chat/conversation.html#list", ctx)


@require_GET
def find(request: Request) -> HttpResponse:
    """What the palette's search found among all conversations."""
    ctx = {"conversations": history.find(request.user, request.GET.get("q", ""))}
    return render(request, "chat/changes.html#found", ctx)


@require_GET
def models(request: Request) -> HttpResponse:
    """What the picker's search found, as items of its menu."""
    ctx = {"models": found(request.GET.get("q", ""))}
    return render(request, "chat/changes.html#models", ctx)


@require_GET
def message(request: Request, message_id: int) -> HttpResponse:
    shown = fragments.with_attempts([_message(request, message_id)])[0]
    return render(request, "chat/message.html#message", {"message": shown})


@require_POST
def send(request: Request, conversation_id: int | None = None) -> HttpResponse:
    """A message, in a new conversation where none is named."""
    held = _conversation(request, conversation_id) if conversation_id else None
    form = MessageForm(request.POST, user=request.user)
    if not form.is_valid():
        return _refused(request, held, form)
    try:
        reply = turns.start(request.user, held, *form.question())
    except turns.StillAnswering:
        form.add_error(None, BUSY)
        return _refused(request, held, form)
    except turns.AlreadySent as sent:
        return _opened(request, sent.reply.conversation)
    if held is not None and request.htmx:
        return _asked(request, reply, with_question=True)
    return _opened(request, reply.conversation)


@require_POST
def stop(request: Request, turn_id: int) -> HttpResponse:
    turn = _message(request, turn_id)
    turns.stop(turn)
    if not request.htmx:
        return redirect(turn.conversation)
    turn.refresh_from_db()
    # A running turn's end comes over its stream, from the runner.
    return HttpResponse(status=204) if turn.is_active else HttpResponse(fragments.finished(turn))


@require_POST
def retry(request: Request, message_id: int) -> HttpResponse:
    """Another answer, by the model picked below, else by the same one."""
    reply = _message(request, message_id)
    picked = request.POST.get("model", "")
    model = _usable(picked if picked.isdecimal() else reply.language_model_id)
    if model is None:
        return _not_asked(request, reply, UNUSABLE)
    return _asked_again(request, reply, lambda: turns.retry(reply, model))


@require_POST
def resume(request: Request, message_id: int) -> HttpResponse:
    """The same answer goes on, by the model that wrote it."""
    reply = _message(request, message_id)
    length = request.POST.get("length", "")
    if _usable(reply.language_model_id) is None:
        return _not_asked(request, reply, UNUSABLE)
    shown = int(length) if length.isdecimal() else 0
    return _asked_again(request, reply, lambda: turns.resume(reply, shown))


def _usable(pk: int | str | None) -> LanguageModel | None:
    return LanguageModel.objects.usable().filter(pk=pk or 0).select_related("provider").first()


def _asked_again(request: Request, reply: Message, asking: Callable[[], Message]) -> HttpResponse:
    """The new answer in place of the one shown, or why there is none."""
    try:
        again = asking()
    except turns.StillAnswering:
        return _not_asked(request, reply, BUSY)
    except turns.WentOn:
        return _not_asked(request, reply, WENT_ON)
    except turns.AlreadySent as sent:
        return _opened(request, sent.reply.conversation)
    if request.htmx:
        return _asked(request, again, replaces=reply.pk)
    return redirect(reply.conversation)


def _not_asked(request: Request, reply: Message, problem: str) -> HttpResponse:
    if request.htmx:
        ctx = {"problems": [problem]}
        return render(request, "chat/changes.html#refused", ctx, status=422)
    messages.error(request, problem)
    return redirect(reply.conversation)


@require_http_methods(["GET", "POST"])
def rename(request: Request, conversation_id: int) -> HttpResponse:
    held = _conversation(request, conversation_id)
    form = TitleForm(request.POST or None, instance=held)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect(held)
    ctx = {"form": form, "conversation": held}
    return render(request, "chat/rename.html", ctx, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
def delete(request: Request, conversation_id: int) -> HttpResponse:
    held = _conversation(request, conversation_id)
    if request.method == "POST":
        for turn in held.messages.active():
            turns.stop(turn)
        held.delete()
        messages.success(request, "The conversation was deleted.")
        return redirect("chat:index")
    ctx = {"conversation": held, "count": held.messages.count()}
    return render(request, "chat/delete.html", ctx)


def _conversation(request: Request, pk: int) -> Conversation:
    return get_object_or_404(Conversation.objects.of(request.user).with_model(), pk=pk)


def _message(request: Request, pk: int) -> Message:
    """A reply of the user's own."""
    replies = Message.objects.of(request.user).filter(role=Role.ASSISTANT)
    return get_object_or_404(replies.select_related("conversation", "language_model"), pk=pk)


def _page(
    request: Request, held: Conversation | None, form: MessageForm | None = None
) -> HttpResponse:
    thread = fragments.with_attempts(turns.thread(held)) if held else []
    pick = _picked(request, held)
    initial = {"model": pick.model_id, "text": _returned(thread), "token": _token()}
    form = form or MessageForm(initial=initial, user=request.user, pick=bool(pick.problem))
    ctx = _listed(request, held.pk if held else None, before=request.GET.get("before", "")) | {
        "conversation": held,
        "thread": turns.marked(thread),
        "active": next((each for each in reversed(thread) if each.is_active), None),
        "form": form,
        "pick": pick,
        "problems": form.problems(),
        "lacking": "" if thread else _lacking(),
    }
    status = 422 if form.errors else 200
    return render(request, "chat/conversation.html", ctx, status=status)


def _picked(request: Request, held: Conversation | None) -> Pick:
    """As a link from the Models page names it, else as the conversation goes on."""
    named = request.GET.get("model", "")
    return pick_named(int(named)) if named.isdecimal() else pick_for(request.user, held)


def _token() -> str:
    """Names one form, so that sending it twice makes one turn."""
    return secrets.token_urlsafe(16)


def _opened(request: Request, held: Conversation) -> HttpResponse:
    """The browser goes to the conversation's page."""
    if request.htmx:
        return HttpResponseClientRedirect(held.get_absolute_url())
    return redirect(held)


def _returned(thread: list[Message]) -> str:
    """No answer came to the last question: it is put back, to be changed or sent elsewhere."""
    failed = thread and thread[-1].status == Status.FAILED
    return thread[-2].text if failed else ""


def _current(request: Request) -> int | None:
    """The conversation that the list's page shows."""
    at = request.GET.get("at", "")
    return int(at) if at.isdecimal() else None


def _listed(
    request: Request, current: int | None, *, through: str = "", before: str = ""
) -> dict[str, Any]:
    """The list; it looks again by itself while something runs that this page does not follow."""
    user = request.user
    older = history.page_before(user, before) if before else history.first_page(user, through)
    elsewhere = Message.objects.of(user).active().exclude(conversation=current)
    return {
        "older": older,
        "before": before,
        "current": current,
        "elsewhere": not before and elsewhere.exists(),
    }


def _lacking() -> str:
    """What is missing before anybody can chat."""
    if not Provider.objects.usable().exists():
        return "provider"
    return "" if LanguageModel.objects.usable().exists() else "model"


def _refused(request: Request, held: Conversation | None, form: MessageForm) -> HttpResponse:
    """What was typed stays typed: with htmx untouched on the page, without it in the form."""
    if not request.htmx:
        return _page(request, held, form)
    return render(request, "chat/changes.html#refused", {"problems": form.problems()}, status=422)


def _asked(
    request: Request, reply: Message, *, with_question: bool = False, replaces: int | None = None
) -> HttpResponse:
    thread = turns.marked(fragments.with_attempts(turns.thread(reply.conversation)))
    ctx = {
        "asked": thread[-2:] if with_question else thread[-1:],
        "replaces": replaces,
        "active": reply,
        "conversation": reply.conversation,
        "token": _token(),
    }
    return render(request, "chat/changes.html#asked", ctx)
