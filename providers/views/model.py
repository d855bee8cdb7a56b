"""One language model in detail, and the parameter presets."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from providers.diagnosis import wording
from providers.forms import model_forms
from providers.forms.model_forms import ModelSettingsForm, PresetForm
from providers.infra.page_request import PageRequest
from providers.models import LanguageModel, ParameterPreset
from providers.operations import audit
from providers.router import snapshot
from providers.views import models
from providers.views.access import require_staff, staff_only

SOURCES = {
    "hand": "Entered manually",
    "provider": "Provider",
    "gateway": "Gateway",
    "import": "Imported file",
    "models.dev": "models.dev (offline copy)",
    "litellm": "LiteLLM price list",
}
_FACTS = (
    ("context", "Context"),
    ("output_limit", "Maximum output"),
    ("input_price", "Input price per 1M tokens"),
    ("output_price", "Output price per 1M tokens"),
    ("cache_read_price", "Cached input price per 1M tokens"),
    ("cache_write_price", "Cache write price per 1M tokens"),
    ("vision", "Vision"),
    ("tools", "Tools"),
    ("reasoning", "Reasoning"),
    ("json_output", "JSON output"),
)


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: PageRequest, pk: int) -> HttpResponse:
    """Show a model's facts with their sources; operators set its alias and parameters."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    form = ModelSettingsForm(request.POST or None, model=model)
    if request.method == "POST":
        require_staff(request)
        before = audit.values(model)
        if form.is_valid() and form.store():
            audit.note_changes(request.user, "changed", model, before)
            messages.success(request, f"{model.name} is saved.")
            return redirect("models:show", pk)
    ctx = {
        "model": model,
        "failing": failing(model),
        "form": form,
        "facts": facts(model),
        "starred": model.favourites.filter(user=request.user).exists(),
        "presets": ParameterPreset.objects.all() if request.user.is_staff else (),
        "shared": model.aliases.all(),
        "full_name": f"{model.provider.slug}/{model.model_id}",
    }
    return render(request, "models/show.html", ctx, status=422 if form.errors else 200)


def failing(model: LanguageModel) -> tuple[wording.ModelLine, ...]:
    """The routes and keys that are paused for this model."""
    failures = snapshot.load_failures([model.provider])
    routes = failures.routes(model.provider)
    states = failures.domains.open_models(routes)
    own = [each for each in states if each.domain.model_id == model.model_id]
    return wording.describe_failing_models(own, routes, timezone.now())


def facts(model: LanguageModel) -> list[tuple[str, str, str]]:
    """Label, value in words and source of each fact."""
    sources = model.sources if isinstance(model.sources, dict) else {}
    return [
        (label, _describe(name, getattr(model, name)), SOURCES.get(sources.get(name, ""), ""))
        for name, label in _FACTS
    ]


def _describe(name: str, value: Any) -> str:
    if value is None:
        return "Unknown"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if name.endswith("price"):
        return f"${value.normalize():f}"
    return f"{wording.format_tokens(value)} tokens"


@require_POST
@staff_only
def apply(request: PageRequest, pk: int) -> HttpResponse:
    """Apply a preset to one model, as far as the model takes its parameters."""
    model = get_object_or_404(LanguageModel.objects.present().select_related("provider"), pk=pk)
    chosen = request.POST.get("preset", "")
    preset = get_object_or_404(ParameterPreset, pk=int(chosen) if chosen.isdecimal() else 0)
    if model_forms.apply_preset(preset, [model]):
        messages.success(request, f"Preset {preset.name} applied.")
    else:
        messages.info(
            request, f"No changes: {model.name} already has or does not support these parameters."
        )
    return redirect("models:show", pk)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def presets(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """List all presets, with a form for a new one or the one in the URL."""
    picked = get_object_or_404(ParameterPreset, pk=pk) if pk else None
    form = PresetForm(request.POST or None, instance=picked)
    if request.method == "POST" and form.is_valid():
        messages.success(request, f"Preset {form.store().name} is saved.")
        return redirect("models:presets")
    ctx = {"presets": ParameterPreset.objects.all(), "picked": picked, "form": form}
    return render(request, "models/presets.html", ctx, status=422 if form.errors else 200)


@require_POST
@staff_only
def remove_preset(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a preset; models keep the values that it set."""
    ParameterPreset.objects.filter(pk=pk).delete()
    return redirect(reverse("models:presets"))


@require_POST
@staff_only
def remove_alias(request: PageRequest, pk: int, alias_pk: int) -> HttpResponse:
    """Remove an additional alias; the model's own alias is a field of its form."""
    model = get_object_or_404(LanguageModel.objects.present(), pk=pk)
    alias = get_object_or_404(model.aliases, pk=alias_pk)
    with transaction.atomic():
        alias.delete()
        audit.note(request.user, "changed", model, {"further alias": [alias.name, ""]})
    messages.success(request, f"Alias {alias.name} is removed.")
    return redirect("models:show", pk)


urlpatterns = [
    path("", models.index, name="index"),
    path("bulk/", models.bulk, name="bulk"),
    path("undo/", models.undo, name="undo"),
    path("presets/", presets, name="presets"),
    path("presets/<int:pk>/", presets, name="preset"),
    path("presets/<int:pk>/remove/", remove_preset, name="remove-preset"),
    path("<int:pk>/", show, name="show"),
    path("<int:pk>/alias/<int:alias_pk>/remove/", remove_alias, name="remove-alias"),
    path("<int:pk>/favourite/", models.favourite, name="favourite"),
    path("<int:pk>/use/", models.use, name="use"),
    path("<int:pk>/preset/", apply, name="apply"),
]
