"""The Celery application: the worker runs the apps' tasks.py, beat says when."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opencode_web.settings")

app = Celery("opencode_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
