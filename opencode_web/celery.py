"""The Celery application: the worker runs the tasks of the apps, and beat schedules them."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")

app = Celery("opencode_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
