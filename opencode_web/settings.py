"""Django's settings, grouped by feature; every value that differs between machines is in env.py."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.utils.csp import CSP

from opencode_web import env

BASE_DIR = Path(__file__).resolve().parent.parent
try:
    ENV = env.read()
except env.EnvironmentInvalid as problem:
    sys.exit(f"opencode-web cannot start.\n{problem}")

# Site
_public = urlsplit(ENV.public_url)
_secure = _public.scheme == "https"
SECRET_KEY = ENV.secret_key.get_secret_value()
DEBUG = ENV.debug
# The local names are always among them: health checks come from this machine.
ALLOWED_HOSTS = [*ENV.allowed_hosts, _public.hostname or "", "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [ENV.public_url]
ROOT_URLCONF = "opencode_web.urls"
ASGI_APPLICATION = "opencode_web.asgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "django_htmx",
    "opencode_web",
    "providers",
    "chat",
    "health",
    "api",
]

# Each of these is async-capable; tests/test_architecture.py asserts it.
MIDDLEWARE = [
    "opencode_web.middleware.no_store",
    "django.middleware.security.SecurityMiddleware",
    "opencode_web.middleware.CompressionMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "opencode_web.middleware.SignInRequiredMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

FORM_RENDERER = "opencode_web.bound_fields.Renderer"
# The chat's longest message, percent-encoded: twelve bytes a character.
DATA_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "opencode_web.context.site",
            ],
        },
    },
]

# Database. The pool gives connections back after each request; CONN_MAX_AGE above 0 leaks
# under ASGI. The short time-outs make an unreachable database an answer, not a hang.
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        ENV.database_url.get_secret_value(), engine="django.db.backends.postgresql"
    )
}
# A pooled connection is looked at before it is handed out: the database may have been restarted.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {}).update(
    connect_timeout=3,
    pool={
        "min_size": 0,
        "max_size": ENV.database_pool,
        "timeout": 5,
        "max_idle": 60,
        # The pool doubles its pauses for so long; by default five minutes, and as long after an
        # outage nobody would be connected again.
        "reconnect_timeout": 2.0,
    },
)

# Redis: event logs, wake-ups, Celery's broker. Nothing here is the only copy of anything.
ACCEPT_LOST_KEYS = ENV.accept_lost_keys
REDIS_URL = ENV.redis_url.get_secret_value()
REDIS_PATIENCE = ENV.redis_patience

# Sign-in
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "chat:index"
LOGOUT_REDIRECT_URL = "sign-in"
AUTHENTICATION_BACKENDS = [
    "opencode_web.accounts.PasswordBackend",
    # Never asked for a password; sessions from before name it.
    "django.contrib.auth.backends.ModelBackend",
]
ACCOUNT_ADAPTER = "opencode_web.accounts.Adapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = False  # opencode_web/throttle.py limits, and says how long to wait
# Of X-Forwarded-For the entry that our own proxy wrote, which is the last one.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if ENV.trust_proxy else 0
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Security
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = _secure
SESSION_COOKIE_AGE = 30 * 24 * 3600
CSRF_COOKIE_SECURE = _secure
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _secure else 0
# Without a proxy that is believed every request looks like plain HTTP: a redirect would be endless.
SECURE_SSL_REDIRECT = _secure and ENV.trust_proxy
# Metrics are asked for from inside, over plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^metrics$"]
if ENV.trust_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# Fernet keys of stored secrets; the first encrypts, all decrypt (providers/infra/encrypted_fields).
ENCRYPTION_KEYS = [key.get_secret_value() for key in ENV.encryption_keys]

# Static files: hashed names, compressed beside the original, served by ServeStatic ahead of Django.
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = ENV.opencode_web_home / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "servestatic.storage.CompressedManifestStaticFilesStorage"
    },
}

# Gateways
LITELLM_ENDPOINT = ENV.litellm_endpoint
# Asked by the name of a preset's variable, for the forms that offer to use it.
PROVIDER_KEY = env.provider_key
LITELLM_API_KEY = ENV.litellm_api_key.get_secret_value() if ENV.litellm_api_key else ""
GATEWAY_URL = ENV.gateway_url
GATEWAY_TOKEN = ENV.gateway_token.get_secret_value()

# Time-outs and freshness, in seconds
ALLOW_PRIVATE_ADDRESSES = ENV.allow_private_addresses
TIMEOUT_CONNECT = ENV.timeout_connect
TIMEOUT_FIRST_TOKEN = ENV.timeout_first_token
TIMEOUT_FIRST_TOKEN_LAST = ENV.timeout_first_token_last
TIMEOUT_SILENCE = ENV.timeout_silence
TIMEOUT_WHOLE = ENV.timeout_whole
TIMEOUT_TOTAL = ENV.timeout_total
ROUTING_RULES = ENV.routing_rules
ROUTING_FRESH = ENV.routing_fresh
MODELS_FRESH = ENV.models_fresh
IDEMPOTENCY_KEEP = ENV.idempotency_keep
# Flags: None where the panel decides.
EMERGENCY_ANSWERS = ENV.emergency_answers
STORE_RESPONSES = ENV.store_responses
GATEWAY_SDK = ENV.gateway_sdk
SMART_ROUTING = ENV.smart_routing
CHAT_PROBES = ENV.chat_probes
RUNNER_CONCURRENCY = ENV.runner_concurrency

# The API
API_KEEP_ALIVE = ENV.api_keep_alive
API_LARGEST_BODY = ENV.api_largest_body * 2**20
API_BODIES = ENV.api_bodies * 2**20

# Days that things are kept
KEEP_ATTEMPTS = ENV.keep_attempts
KEEP_PROBES = ENV.keep_probes
KEEP_ROLLUPS = ENV.keep_rollups
KEEP_INCIDENTS = ENV.keep_incidents
KEEP_RESPONSES = ENV.keep_responses
KEEP_REMOVED = ENV.keep_removed

# Metrics
METRICS_TOKEN = ENV.metrics_token.get_secret_value() if ENV.metrics_token else ""
METRICS_FOLDER = ENV.prometheus_multiproc_dir

# Celery. One thread pool instead of forks: a forked psycopg pool is unsafe, and memory stays low.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_POOL_LIMIT = 4
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 120
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 4
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    # A tick that nobody took in time is of no use any more.
    "tick": {"task": "health.tasks.tick", "schedule": 1.0, "options": {"expires": 2.0}},
    "roll-up": {"task": "health.tasks.roll_up", "schedule": 60.0, "options": {"expires": 60.0}},
    "prune": {"task": "health.tasks.prune", "schedule": 3600.0},
    "delete-old-responses": {"task": "api.tasks.delete_old_responses", "schedule": 3600.0},
    "check-gateways": {
        "task": "providers.tasks.check_gateways",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    "refresh-stale-catalogues": {"task": "providers.tasks.refresh_stale", "schedule": 60.0},
}

# Logs: one event name and key=value pairs; never a key, a prompt or a reply.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
    },
    "filters": {"refusals": {"()": "opencode_web.launcher.logs.RefusalFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": ENV.log_level},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "django.request": {"filters": ["refusals"]},
        "httpx": {"level": "WARNING"},
    },
}
