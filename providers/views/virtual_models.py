"""The pages of virtual models: list, create, edit, order the members, test them side by side."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.db import connections, transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from providers.connection_test.draft import Draft
from providers.connection_test.members_test import chat_with_members
from providers.domain.frozen import frozen
from providers.domain.types import Method
from providers.forms.virtual_model import AddMemberForm, VirtualModelForm, WeightForm
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel, VirtualMember, VirtualModel
from providers.models.virtual_model import MAX_WEIGHT
from providers.operations import audit, virtual_members
from providers.router import snapshot
from providers.views import member_preview
from providers.views.access import require_staff, staff_only

MAX_OFFERED = 500  # models in the list beside the field; any other can be typed


@frozen
class VirtualLine:
    """A virtual model as the list shows it, and what would happen to the next request."""

    virtual: VirtualModel
    members: Sequence[VirtualMember]
    forecast: str
    is_starred: bool


@require_safe
def index(request: PageRequest) -> HttpResponse:
    """List the virtual models."""
    virtual_models = list(_with_members())
    forecasts = member_preview.describe_all(virtual_models)
    starred = set(
        VirtualModel.objects.filter(favoured_by=request.user).values_list("pk", flat=True)
    )
    lines = [
        VirtualLine(
            virtual=each,
            members=list(each.members.all()),
            forecast=forecasts[each.pk],
            is_starred=each.pk in starred,
        )
        for each in virtual_models
    ]
    return render(request, "models/virtual/index.html", {"lines": lines})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def new(request: PageRequest) -> HttpResponse:
    """Create a virtual model; its members are added on its page."""
    form = VirtualModelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        virtual = _store(request, form, {})
        messages.success(request, f"{virtual.name} is created. Add its members.")
        return redirect("virtual_models:edit", virtual.pk)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "models/virtual/new.html", {"form": form}, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def edit(request: PageRequest, pk: int) -> HttpResponse:
    """Edit the settings of a virtual model; show its members."""
    virtual = get_object_or_404(_with_members(), pk=pk)
    before = audit.values(virtual)
    form = VirtualModelForm(request.POST or None, instance=virtual)
    if request.method == "POST" and form.is_valid():
        _store(request, form, before)
        messages.success(request, f"{virtual.name} is saved.")
        return redirect("virtual_models:edit", pk)
    return _render_edit(request, pk, form=form)


def _store(request: PageRequest, form: VirtualModelForm, before: audit.Values) -> VirtualModel:
    with transaction.atomic():
        virtual = form.save()
        audit.note_changes(request.user, "changed" if before else "created", virtual, before)
    return virtual


def _render_edit(
    request: PageRequest,
    pk: int,
    form: VirtualModelForm | None = None,
    adding: AddMemberForm | None = None,
) -> HttpResponse:
    virtual = get_object_or_404(_with_members(), pk=pk)
    has_errors = bool(form and form.errors) or bool(adding and adding.errors)
    offered = LanguageModel.objects.usable().select_related("provider")[:MAX_OFFERED]
    context = {
        "virtual": virtual,
        "members": list(virtual.members.all()),
        "forecast": member_preview.describe_all([virtual])[virtual.pk],
        "form": form or VirtualModelForm(instance=virtual),
        "adding": adding or AddMemberForm(),
        "offered": offered,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if has_errors else HTTPStatus.OK
    return render(request, "models/virtual/edit.html", context, status=status)


@require_POST
@staff_only
def add_member(request: PageRequest, pk: int) -> HttpResponse:
    """Add a member, or show what is wrong with what was typed."""
    virtual = get_object_or_404(VirtualModel, pk=pk)
    adding = AddMemberForm(request.POST)
    if not adding.is_valid():
        return _render_edit(request, pk, adding=adding)
    virtual_members.add(request.user, virtual, *adding.member())
    return redirect("virtual_models:edit", pk)


@require_POST
@staff_only
def change_member(request: PageRequest, pk: int, member_pk: int) -> HttpResponse:
    """Move a member, change its weight, pause it or remove it, by the button that was pressed."""
    rows = VirtualMember.objects.select_related("virtual_model")
    member = get_object_or_404(rows, pk=member_pk, virtual_model=pk)
    user, action = request.user, request.POST.get("do", "")
    if action in ("up", "down"):
        virtual_members.move(user, member, up=action == "up")
    elif action in ("pause", "resume"):
        virtual_members.change(user, member, enabled=action == "resume")
    elif action == "remove":
        virtual_members.remove(user, member)
    elif (form := WeightForm(request.POST)).is_valid():
        virtual_members.change(user, member, weight=form.cleaned_data["weight"])
    else:
        messages.error(request, f"The weight must be a number from 0 to {MAX_WEIGHT:,}.")
    # The pressed button is in sight again, for who works with the keyboard.
    return redirect(f"{reverse('virtual_models:edit', args=[pk])}#member-{member_pk}")


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def delete(request: PageRequest, pk: int) -> HttpResponse:
    """Confirm, then delete a virtual model; the models of its members stay."""
    virtual = get_object_or_404(VirtualModel, pk=pk)
    if request.method != "POST":
        return render(request, "models/virtual/delete.html", {"virtual": virtual})
    with transaction.atomic():
        audit.note(request.user, "deleted", virtual)
        virtual.delete()
    messages.success(request, f"{virtual.name} is removed.")
    return redirect("virtual_models:index")


@require_POST
def favourite(request: PageRequest, pk: int) -> HttpResponse:
    """Add a virtual model to the user's favourites, or remove it."""
    virtual = get_object_or_404(VirtualModel, pk=pk)
    if request.POST.get("favourite") == "on":
        virtual.favoured_by.add(request.user)
    else:
        virtual.favoured_by.remove(request.user)
    return redirect("virtual_models:index")


@require_http_methods(["GET", "HEAD", "POST"])
async def test(request: PageRequest, pk: int) -> HttpResponse:
    """Describe the test of all members; on POST send one short chat to each at the same time."""
    virtual, members, tests = await sync_to_async(_open_test)(request, pk)
    context: dict[str, Any] = {"virtual": virtual, "members": members}
    if request.method == "POST":
        replies = await chat_with_members(list(tests.values()))
        by_member = dict(zip(tests, replies, strict=True))
        context["results"] = [(each, by_member.get(each.pk)) for each in members]
    name = "models/virtual/test.html"
    part = f"{name}#results" if request.htmx and request.method == "POST" else name
    return await sync_to_async(render)(request, part, context)


def _open_test(
    request: HttpRequest, pk: int
) -> tuple[VirtualModel, list[VirtualMember], dict[int, tuple[Draft, Method]]]:
    """Check permission and read storage first: the test holds no database connection."""
    try:
        require_staff(request)
        virtual = get_object_or_404(_with_members(), pk=pk)
        members = list(virtual.members.all())
        tests = {row.pk: draft for row in members if (draft := _draft(row))}
        return virtual, members, tests
    finally:
        connections.close_all()


def _draft(row: VirtualMember) -> tuple[Draft, Method] | None:
    """What a test of this member calls; None where its provider is paused or removed."""
    model = row.model
    candidate = snapshot.load_candidate(model.provider_id, model.model_id)
    if candidate is None:
        return None
    draft = Draft(connection=candidate.connection, model_id=model.model_id, stored=candidate)
    return draft, member_preview.method_in_use(candidate)


def _with_members() -> QuerySet[VirtualModel]:
    rows = VirtualMember.objects.select_related("model__provider", "virtual_model")
    return VirtualModel.objects.prefetch_related(Prefetch("members", queryset=rows))


urlpatterns = [
    path("", index, name="index"),
    path("new/", new, name="new"),
    path("<int:pk>/", edit, name="edit"),
    path("<int:pk>/members/", add_member, name="add-member"),
    path("<int:pk>/members/<int:member_pk>/", change_member, name="change-member"),
    path("<int:pk>/delete/", delete, name="delete"),
    path("<int:pk>/favourite/", favourite, name="favourite"),
    path("<int:pk>/test/", test, name="test"),
]
