"""The site's addresses."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from api.connect import device_views
from opencode_web import accounts, failures
from opencode_web.launcher import setup
from providers.views import activity, gateways, metrics, model, virtual_models
from providers.views import settings as settings_page

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="chat:index"), name="home"),
    path("setup/", setup.setup, name="setup"),
    path("sign-in/", accounts.SignIn.as_view(), name="sign-in"),
    path("sign-in/", accounts.SignIn.as_view(), name="account_login"),  # as allauth calls it
    path("sign-out/", auth_views.LogoutView.as_view(), name="sign-out"),
    path("chat/", include("chat.urls")),
    path("providers/", include("providers.urls")),
    path("gateways/", include((gateways.urlpatterns, "gateways"))),
    path("models/virtual/", include((virtual_models.urlpatterns, "virtual_models"))),
    path("models/", include((model.urlpatterns, "models"))),
    path("status/", include("health.urls")),
    path("activity/", include((activity.urlpatterns, "activity"))),
    path("connect/", include("api.connect.urls")),
    path(".well-known/opencode", device_views.describe, name="well-known"),
    path("settings/", include((settings_page.urlpatterns, "settings"))),
    path("metrics", metrics.metrics, name="metrics"),
    # The admin's own pages for this would check and hash passwords without the throttle.
    path("admin/login/", secure_admin_login(admin.site.login)),
    path("admin/password_change/", RedirectView.as_view(pattern_name="settings:password")),
    path("admin/", admin.site.urls),
]

handler500 = failures.server_error
