"""Attempts: one row for each call over a route, appended and never changed."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from providers.models.provider import Provider
from providers.models.route import Route
from providers.policy import reasons


class Purpose(models.TextChoices):
    CHAT = "chat", "Chat"
    API = "api", "API"
    TEST = "test", "Test"
    PROBE = "probe", "Probe"


SYNTHETIC = (Purpose.TEST, Purpose.PROBE)  # their prompts hold nothing of a person's


class Attempt(models.Model):
    """One call over one route. Appended, never changed; pruned by age.

    A request that found no available route is one attempt without a route, so that it is listed.
    """

    # Makes a second write of the same attempt do nothing. None in rows older than the column.
    uuid = models.UUIDField(unique=True, null=True, editable=False)
    request_id = models.UUIDField(db_index=True)
    position = models.PositiveSmallIntegerField(default=1, help_text="Among its request's.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # The id of the API client's key. No foreign key: those rows belong to the api app.
    client_key = models.PositiveBigIntegerField(null=True, blank=True)
    route = models.ForeignKey(Route, null=True, on_delete=models.SET_NULL, related_name="attempts")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="attempts")
    method = models.CharField(max_length=10)
    endpoint = models.CharField(max_length=500, blank=True, default="")
    model_id = models.CharField(max_length=200, blank=True, default="")
    purpose = models.CharField(max_length=10, choices=Purpose)
    outcome = models.CharField(max_length=12)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    error_code = models.CharField(max_length=100, blank=True, default="")
    error_message = models.CharField(max_length=300, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    ttft_ms = models.PositiveIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    # Parts of the input and the output. None in rows older than the columns.
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)
    cache_write_tokens = models.PositiveIntegerField(null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False)
    cost = models.DecimalField(max_digits=14, decimal_places=8, null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)

    # Whether its message is hidden from the reader; set by providers/operations/activity.py.
    redacted = False

    class Meta:
        ordering = ("-started_at",)
        indexes = (
            # the provider page's activity, and the status page's last hours
            models.Index(fields=("provider", "-started_at"), name="attempt_recent"),
            # the activity page without a filter, roll-ups and pruning, which go by time alone
            models.Index(fields=("-started_at",), name="attempt_time"),
            # the activity page as it opens: without probes, which are most of a quiet log
            models.Index(
                fields=("-started_at",),
                name="attempt_unprobed",
                condition=~models.Q(purpose=Purpose.PROBE),
            ),
            # a person's own activity
            models.Index(
                fields=("user", "-started_at"),
                name="attempt_of_user",
                condition=models.Q(user__isnull=False),
            ),
            # pruning of probes, which are kept for a shorter time than the calls among them
            models.Index(
                fields=("started_at",),
                name="attempt_probes",
                condition=models.Q(purpose=Purpose.PROBE),
            ),
        )

    def __str__(self) -> str:
        return f"{self.method} {self.outcome}"

    @property
    def failure(self) -> str:
        """Kind, HTTP status and code of a failure, which everybody may read."""
        return reasons.failure_words(self.outcome, self.status, self.error_code)

    @property
    def public_message(self) -> str:
        """The message, unless it may repeat a person's prompt; then `failure`."""
        return self.error_message if self.purpose in SYNTHETIC else self.failure
