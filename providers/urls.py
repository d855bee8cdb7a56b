"""Addresses below /providers/. What is here in words is reserved and no provider's slug."""

from django.urls import path

from providers.views import catalogue, pages, testing

app_name = "providers"
urlpatterns = [
    path("", pages.index, name="index"),
    path("new/", pages.new, name="new"),
    path("test/", testing.run, name="test-new"),
    path("fix/", pages.fix, name="fix-new"),
    path("<slug:slug>/", pages.detail, name="detail"),
    path("<slug:slug>/test/", testing.run, name="test"),
    path("<slug:slug>/fix/", pages.fix, name="fix"),
    path("<slug:slug>/apply-fix/", pages.apply_fix, name="apply-fix"),
    path("<slug:slug>/delete/", pages.delete, name="delete"),
    path("<slug:slug>/health/", pages.health, name="health"),
    path("<slug:slug>/models/", catalogue.models, name="models"),
    path("<slug:slug>/models/refresh/", catalogue.refresh, name="refresh"),
    path("<slug:slug>/models/add/", catalogue.add, name="add-model"),
    path("<slug:slug>/models/all/", catalogue.toggle_all, name="toggle-models"),
    path("<slug:slug>/models/<int:pk>/", catalogue.toggle, name="toggle-model"),
    path("<slug:slug>/models/<int:pk>/remove/", catalogue.remove, name="remove-model"),
]
