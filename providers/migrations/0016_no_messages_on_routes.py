"""What a route kept of its last failure may repeat a person's prompt: new ones do not."""

from django.db import migrations


def clear(apps, schema_editor):
    apps.get_model("providers", "Route").objects.exclude(last_error="").update(last_error="")


class Migration(migrations.Migration):
    dependencies = [("providers", "0015_cached_tokens")]
    operations = [migrations.RunPython(clear, migrations.RunPython.noop, elidable=True)]
