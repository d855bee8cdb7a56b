"""What the calls of each client key cost, by day."""

from django.db import models


class KeySpend(models.Model):
    """The cost of one client key's attempts that started on one day (UTC), failed ones included.

    Written together with the attempts, so each counts once. Kept for longer than they are.
    """

    # No foreign key, as in an attempt: those rows belong to the api app.
    client_key = models.PositiveBigIntegerField()
    day = models.DateField()
    cost = models.DecimalField("cost in USD", max_digits=20, decimal_places=8)

    class Meta:
        constraints = (
            # adding to a day's cost, and reading the budgets
            models.UniqueConstraint(fields=("client_key", "day"), name="key_spend_unique"),
        )
        indexes = (
            # deletion by age
            models.Index(fields=("day",), name="key_spend_age"),
        )

    def __str__(self) -> str:
        return f"{self.client_key} {self.day}"
