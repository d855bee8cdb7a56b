"""Feature flags as the panel sets them; the registry is providers/infra/feature_flags.py."""

from django.db import models

from providers.infra import feature_flags
from providers.models.announced import Replicated


class FlagSetting(Replicated):
    """A flag that an operator has set. A flag without a row has its default."""

    name = models.CharField(max_length=40, unique=True)
    enabled = models.BooleanField()

    class Meta:
        verbose_name = "flag"

    def __str__(self) -> str:
        flag = feature_flags.FLAGS.get(self.name)
        return flag.title if flag else self.name


def read_flags() -> None:
    """Load the stored flags into this process."""
    rows = FlagSetting.objects.values_list("name", "enabled")
    feature_flags.set_stored(
        {name: enabled for name, enabled in rows if name in feature_flags.FLAGS}
    )
