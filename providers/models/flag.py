"""Feature flags as the panel sets them; the registry is providers/infra/feature_flags.py."""

from django.db import models

from providers.infra import feature_flags
from providers.models.announced import Announced


class FlagSetting(Announced):
    """One flag that an operator has set. Without a row the default holds."""

    name = models.CharField(max_length=40, unique=True)
    enabled = models.BooleanField()

    class Meta:
        verbose_name = "flag"

    def __str__(self) -> str:
        return (
            feature_flags.FLAGS[self.name].title if self.name in feature_flags.FLAGS else self.name
        )


def read_flags() -> None:
    """Has this process know what the panel says."""
    rows = FlagSetting.objects.values_list("name", "enabled")
    feature_flags.take({name: enabled for name, enabled in rows if name in feature_flags.FLAGS})
