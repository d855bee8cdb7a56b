"""URLs below /connect/. Those below /v1 are in api/app.py, ahead of Django."""

from django.urls import path

from api.connect import views

app_name = "api"
urlpatterns = [
    path("", views.index, name="connect"),
    path("keys/", views.create, name="create-key"),
    path("keys/<int:pk>/revoke/", views.revoke, name="revoke-key"),
]
