"""The chat's addresses. A turn's events are not here: chat/app.py serves them ahead of Django."""

from django.urls import path

from chat import views

app_name = "chat"
urlpatterns = [
    path("", views.index, name="index"),
    path("models/", views.models, name="models"),
    path("new/", views.new, name="new"),
    path("find/", views.find, name="find"),
    path("list/", views.listing, name="list"),
    path("messages/", views.send, name="first"),
    path("messages/<int:message_id>/", views.message, name="message"),
    path("messages/<int:message_id>/retry/", views.retry, name="retry"),
    path("messages/<int:message_id>/continue/", views.resume, name="continue"),
    path("turns/<int:turn_id>/stop/", views.stop, name="stop"),
    path("<int:conversation_id>/", views.conversation, name="conversation"),
    path("<int:conversation_id>/messages/", views.send, name="send"),
    path("<int:conversation_id>/rename/", views.rename, name="rename"),
    path("<int:conversation_id>/delete/", views.delete, name="delete"),
]
