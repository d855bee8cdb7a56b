"""URLs below /providers/. The fixed words here are reserved: no provider can have them as slug."""

from django.urls import path

from providers.views import catalogue, lifecycle, model_testing, pages, provider_list, testing

app_name = "providers"
urlpatterns = [
    path("", provider_list.index, name="index"),
    path("new/", pages.new, name="new"),
    path("test/", testing.run, name="test-new"),
    path("fix/", pages.fix, name="fix-new"),
    path("<slug:slug>/", pages.detail, name="detail"),
    path("<slug:slug>/test/", testing.run, name="test"),
    path("<slug:slug>/fix/", pages.fix, name="fix"),
    path("<slug:slug>/apply-fix/", pages.apply_fix, name="apply-fix"),
    path("<slug:slug>/delete/", lifecycle.delete, name="delete"),
    path("<slug:slug>/restore/", lifecycle.restore, name="restore"),
    path("<slug:slug>/move/", lifecycle.move, name="move"),
    path("<slug:slug>/pause/", lifecycle.pause, name="pause"),
    path("<slug:slug>/resume/", lifecycle.resume, name="resume"),
    path("<slug:slug>/duplicate/", lifecycle.duplicate, name="duplicate"),
    path("<slug:slug>/health/", pages.health, name="health"),
    path("<slug:slug>/models/", catalogue.models, name="models"),
    path("<slug:slug>/models/refresh/", catalogue.refresh, name="refresh"),
    path("<slug:slug>/models/add/", catalogue.add, name="add-model"),
    path("<slug:slug>/models/all/", catalogue.toggle_all, name="toggle-models"),
    path("<slug:slug>/models/<int:pk>/", catalogue.toggle, name="toggle-model"),
    path("<slug:slug>/models/<int:pk>/test/", model_testing.run, name="test-model"),
    path("<slug:slug>/models/<int:pk>/remove/", catalogue.remove, name="remove-model"),
]
