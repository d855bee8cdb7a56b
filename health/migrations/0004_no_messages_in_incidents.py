"""The sentence of an incident may repeat a person's prompt: new ones do not. Its cause stays."""

from django.db import migrations


def clear(apps, schema_editor):
    incidents = apps.get_model("health", "Incident").objects
    incidents.exclude(sentence="").exclude(cause="").update(sentence="")


class Migration(migrations.Migration):
    dependencies = [("health", "0003_cached_tokens")]
    operations = [migrations.RunPython(clear, migrations.RunPython.noop, elidable=True)]
