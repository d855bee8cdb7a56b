"""Conversations and their messages: a tree of parents, so that edits and regenerations branch.

A reply's row is also its turn: its status, the lease of the runner that works on it, and the text
saved so far. Every change of status is a compare-and-set.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.urls import reverse
from django.utils import timezone

from chat import endings, waiting
from chat.waiting import Waiting
from providers.models import Attempt, LanguageModel, Provider, VirtualModel

LEASE = timedelta(seconds=6)  # a runner renews every second; a dead one is noticed within this


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def of(self, user: AbstractBaseUser | AnonymousUser) -> ConversationQuerySet:
        return self.filter(owner_id=user.pk)

    def with_model(self) -> ConversationQuerySet:
        """With the model that answers next and its provider, in one query."""
        return self.select_related("language_model__provider", "virtual_model")

    def with_running(self) -> ConversationQuerySet:
        """Adds `running`: whether an answer is under way."""
        active = Message.objects.active().filter(conversation=models.OuterRef("pk"))
        return self.annotate(running=models.Exists(active))


class Conversation(models.Model):
    """One thread of messages of one owner."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations"
    )
    title = models.CharField(max_length=120, blank=True, default="")
    language_model = models.ForeignKey(
        LanguageModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # In place of a language model; its name stays after the row.
    virtual_model = models.ForeignKey(
        VirtualModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    virtual_name = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ("-updated_at",)
        indexes = (
            # the list beside the thread
            models.Index(fields=("owner", "-updated_at"), name="conversation_list"),
        )

    def __str__(self) -> str:
        """Without its title: operators meet it in the admin, and what people wrote is theirs."""
        return f"conversation {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("chat:conversation", args=(self.pk,))

    @property
    def name(self) -> str:
        """What its owner sees."""
        return self.title or "New conversation"


class Role(models.TextChoices):
    USER = "user", "You"
    ASSISTANT = "assistant", "Assistant"


class Status(models.TextChoices):
    PENDING = "pending", "Waiting"  # written, no runner has taken it
    RUNNING = "running", "Answering"  # a runner holds the lease
    DONE = "done", "Finished"
    STOPPED = "stopped", "Stopped"  # the reader pressed Stop; text kept
    INTERRUPTED = "interrupted", "Interrupted"  # broke off after content; text kept
    FAILED = "failed", "Failed"  # nothing came over any route


ACTIVE = (Status.PENDING, Status.RUNNING)


class MessageQuerySet(models.QuerySet["Message"]):
    def of(self, user: AbstractBaseUser | AnonymousUser) -> MessageQuerySet:
        return self.filter(conversation__owner_id=user.pk)

    def active(self) -> MessageQuerySet:
        return self.filter(status__in=ACTIVE)

    def claim(self, pk: int, runner: str, now: datetime) -> bool:
        """Pending becomes running under this runner's lease; False where another was first."""
        return (
            self.filter(pk=pk, status=Status.PENDING).update(
                status=Status.RUNNING,
                runner=runner,
                lease_until=now + LEASE,
                started_at=now,
                runs=models.F("runs") + 1,
            )
            == 1
        )

    def take_over(self, pk: int, runner: str, now: datetime) -> bool:
        """A running turn whose runner let its lease end; False where another was first."""
        return (
            self.filter(pk=pk, status=Status.RUNNING, lease_until__lt=now).update(
                runner=runner, lease_until=now + LEASE, runs=models.F("runs") + 1
            )
            == 1
        )

    def held_by(self, runner: str) -> MessageQuerySet:
        """The turns on which this runner's word counts; every write of a runner goes through it."""
        return self.filter(status=Status.RUNNING, runner=runner)


class Message(models.Model):
    """One message. `html` is the reply as rendered once, block by block, by the runner."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages"
    )
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    role = models.CharField(max_length=10, choices=Role)
    status = models.CharField(max_length=12, choices=Status, default=Status.DONE)
    text = models.TextField(blank=True, default="")
    reasoning = models.TextField(blank=True, default="")
    html = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    # Of a question: a hash of the form and its text (chat.turns). The same form adds nothing twice.
    submission = models.CharField(max_length=64, null=True, unique=True, editable=False)

    # How the reply came about. Names are kept beside the keys: rows go, an answer's story stays.
    request_id = models.UUIDField(default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(
        Provider, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    language_model = models.ForeignKey(
        LanguageModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Where one was picked; `language_model` is then that of its first member.
    virtual_model = models.ForeignKey(
        VirtualModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    provider_name = models.CharField(max_length=100, blank=True, default="")
    model_name = models.CharField(max_length=200, blank=True, default="")
    method = models.CharField(max_length=10, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    fallback = models.BooleanField(default=False)
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)  # of the input
    cache_write_tokens = models.PositiveIntegerField(null=True, blank=True)  # of the input
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)  # of the output
    usage_estimated = models.BooleanField(default=False)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    finish_reason = models.CharField(max_length=30, blank=True, default="")
    # Of an answer that goes on: how many characters it had before, which every run keeps.
    continued_from = models.PositiveIntegerField(default=0)
    # {"kind", "message", "advice", "attempts": [{"method", "endpoint", "kind", "message"}]}
    error = models.JSONField(null=True, blank=True)

    # Until the first token: which route is waited for, since when, what is next (chat.waiting).
    waiting = models.JSONField(null=True, blank=True)

    # The turn's execution.
    runs = models.PositiveSmallIntegerField(default=0)  # more than one: a runner died over it
    runner = models.CharField(max_length=60, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    stop_requested = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = MessageQuerySet.as_manager()

    # Where a page shows them: filled for all its messages at once.
    attempts: list[Attempt]
    shown_html: str = ""
    switched: bool = False  # another model than before answers here
    followed: bool = False  # by another message: no more to be tried again

    class Meta:
        ordering = ("created_at", "pk")
        indexes = (
            # runners look every second for turns to take and leases that ended
            models.Index(
                fields=("status", "lease_until"),
                name="turn_active",
                condition=models.Q(status__in=("pending", "running")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} message {self.pk}"

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def waits(self) -> Waiting | None:
        """The current wait of an answer that has not begun."""
        return waiting.waiting(self.waiting, timezone.now()) if self.waiting else None

    @property
    def note(self) -> endings.Note:
        """The note below a finished answer that did not end by itself."""
        if self.status != Status.DONE:
            return endings.NONE
        return endings.note(
            self.finish_reason, text=bool(self.text), reasoning=bool(self.reasoning)
        )

    @property
    def can_continue(self) -> bool:
        """Whether the same answer can go on from where it was cut."""
        cut = self.status == Status.INTERRUPTED or self.note.continues
        return cut and bool(self.text) and self.language_model_id is not None

    @property
    def ending(self) -> str:
        """How the answer ended, for the page's status line."""
        count = len(self.text.split())
        words = f"{count} word{'' if count == 1 else 's'}"
        endings_by_status = {
            Status.DONE: f"Answer finished, {words}",
            Status.STOPPED: f"Answer stopped, {words}",
            Status.INTERRUPTED: f"The answer broke off after {words}",
            Status.FAILED: "No answer came",
        }
        return f"{endings_by_status.get(Status(self.status), '')}. {self.note.text}".strip(". ")
