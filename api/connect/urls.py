"""URLs below /connect/. Those below /v1 are in api/app.py, ahead of Django."""

from django.urls import path

from api.connect import device_views, key_views, views

app_name = "api"
urlpatterns = [
    path("", views.index, name="connect"),
    path("keys/", views.create, name="create-key"),
    path("keys/list/", views.list_keys, name="key-list"),
    path("keys/<int:pk>/", key_views.edit, name="edit-key"),
    path("keys/<int:pk>/rotate/", key_views.rotate, name="rotate-key"),
    path("keys/<int:pk>/revoke/", key_views.revoke, name="revoke-key"),
    path("device/", device_views.confirm, name="device"),
    path("device/code/", device_views.start, name="device-code"),
    path("device/token/", device_views.token, name="device-token"),
]
