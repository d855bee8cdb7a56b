"""Virtual models in the chat: picked, answered, kept by the conversation."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from chat import choices, turn_leases, turns
from chat.forms import MessageForm
from chat.models import Conversation, Message
from chat.picker import pick_for
from providers.models import LanguageModel, Provider, VirtualMember, VirtualModel

MakeProvider = Callable[..., Provider]


@pytest.fixture
def virtual(make_provider: MakeProvider) -> VirtualModel:
    """`fast`, of the models of Acme and Beta."""
    made = VirtualModel.objects.create(name="fast")
    for position, name in enumerate(("Acme", "Beta")):
        model = make_provider(name).language_models.get()
        VirtualMember.objects.create(virtual_model=made, model=model, position=position)
    return made


def value(virtual: VirtualModel) -> str:
    return choices.value_of(None, virtual.pk)


def offered(user: User) -> dict[str, list[str]]:
    """The groups of the picker, with the names in each."""
    groups = MessageForm(user=user).fields["model"].choices  # type: ignore[attr-defined]
    return {str(group): [label for _, label in rows] for group, rows in groups}


def test_it_is_listed_before_the_models_of_providers(owner: User, virtual: VirtualModel) -> None:
    """Among the favourites of who has starred it."""
    assert list(offered(owner)) == ["Virtual models", "Acme", "Beta"]
    virtual.favoured_by.add(owner)
    assert offered(owner)["Favourites"] == ["fast"]
    assert "Virtual models" not in offered(owner)


@pytest.mark.parametrize("change", ["disabled", "no member", "paused provider"])
def test_what_cannot_answer_is_not_offered(owner: User, virtual: VirtualModel, change: str) -> None:
    """Nor accepted."""
    if change == "disabled":
        VirtualModel.objects.update(enabled=False)
    elif change == "no member":
        virtual.members.update(enabled=False)
    else:
        Provider.objects.update(enabled=False)
    assert "Virtual models" not in offered(owner)
    assert choices.find(value(virtual)) is None


def test_a_message_is_answered_by_its_members(owner_client: Client, virtual: VirtualModel) -> None:
    """The turn carries all of them, and the conversation's name for their caches."""
    form = {"text": "Hello", "model": value(virtual), "token": "t"}
    assert owner_client.post(reverse("chat:first"), form).status_code == 302
    turn = Message.objects.get(role="assistant")
    (work,) = turn_leases.claim("runner", 1)
    assert work.call
    assert work.call.virtual
    assert [each.name for each in work.call.virtual.members] == ["acme/m", "beta/m"]
    assert work.call.session == f"conversation-{turn.conversation_id}"


def test_the_conversation_goes_on_with_it(owner: User, virtual: VirtualModel) -> None:
    """Also where its first member has changed; and no other model takes its place."""
    model = LanguageModel.objects.get(provider__slug="acme")
    turns.start(owner, None, "Hello", model, virtual_model=virtual)
    conversation = Conversation.objects.get()
    assert pick_for(owner, conversation).model_id == value(virtual)
    virtual.members.update(enabled=False)
    assert pick_for(owner, conversation).problem == "fast is not in use. Pick another model."
    virtual.delete()
    conversation = Conversation.objects.get()
    assert pick_for(owner, conversation).problem == "fast was removed. Pick another model."


def test_a_turn_whose_members_are_gone_is_not_sent(owner: User, virtual: VirtualModel) -> None:
    """It fails with a reason instead of going to a model that nobody picked."""
    model = LanguageModel.objects.get(provider__slug="acme")
    turns.start(owner, None, "Hello", model, virtual_model=virtual)
    virtual.members.all().delete()
    (work,) = turn_leases.claim("runner", 1)
    assert work.call is None


def test_a_link_names_it(owner_client: Client, virtual: VirtualModel) -> None:
    """As the page of virtual models does."""
    html = owner_client.get(reverse("chat:new") + f"?model={value(virtual)}").content.decode()
    assert f'<option value="{value(virtual)}" selected' in html


def test_an_answer_is_tried_again_with_it(
    owner_client: Client, owner: User, virtual: VirtualModel
) -> None:
    """The same name, whatever answered before."""
    model = LanguageModel.objects.get(provider__slug="acme")
    reply = turns.start(owner, None, "Hello", model, virtual_model=virtual)
    turns.stop(reply)
    owner_client.post(reverse("chat:retry", args=[reply.pk]))
    newest = Message.objects.filter(role="assistant").latest("pk")
    assert newest.pk != reply.pk
    assert newest.virtual_model == virtual
