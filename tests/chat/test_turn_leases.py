"""A runner's word counts while it holds the lease, and not a moment longer."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from chat import turn_leases, turns
from chat.models import LEASE, Message, Status
from providers.domain.types import ChatMessage
from providers.models import LanguageModel

Make = Callable[..., Message]
TEXT = {"text": "So far", "status": Status.DONE}


def test_a_turn_is_claimed_once(make_turn: Make) -> None:
    """Two runners look at the same moment; one gets it."""
    turn = make_turn()
    assert [w.turn_id for w in turn_leases.claim("a", 10)] == [turn.pk]
    assert turn_leases.claim("b", 10) == []
    turn.refresh_from_db()
    assert (turn.status, turn.runner, turn.runs) == (Status.RUNNING, "a", 1)


def test_claims_are_limited_and_oldest_first(make_turn: Make) -> None:
    """What a runner cannot work on is left to others."""
    first, second, third = make_turn(), make_turn(), make_turn()
    assert [w.turn_id for w in turn_leases.claim("a", 2)] == [first.pk, second.pk]
    assert [w.turn_id for w in turn_leases.claim("b", 2)] == [third.pk]


def test_work_holds_what_the_router_needs(make_turn: Make, model: LanguageModel) -> None:
    """The call, and the model's own parameters."""
    LanguageModel.objects.update(parameters={"temperature": 0})
    turn = make_turn()
    [claimed] = turn_leases.claim("a", 1)
    assert claimed.call is not None
    assert (claimed.call.provider_id, claimed.call.model_id) == (model.provider_id, "tiny")
    assert claimed.call.request_id == turn.request_id
    assert claimed.request.options == {"temperature": 0}


def test_a_models_parameters_win_over_its_providers(make_turn: Make, model: LanguageModel) -> None:
    """What only one of them says is sent as well."""
    type(model.provider).objects.update(parameters={"temperature": 1, "top_p": 0.5})
    LanguageModel.objects.update(parameters={"temperature": 0})
    make_turn()
    [claimed] = turn_leases.claim("a", 1)
    assert claimed.request.options == {"temperature": 0, "top_p": 0.5}


def test_history_is_the_path_to_the_question(owner: User, make_turn: Make) -> None:
    """Siblings and empty replies are left out, the rest is in order."""
    failed = make_turn("One?", status=Status.FAILED)
    model = failed.language_model
    assert model is not None
    good = turns.retry(failed, model)
    Message.objects.filter(pk=good.pk).update(status=Status.DONE, text="One.")
    turns.start(owner, failed.conversation, "Two?", model)
    [claimed] = turn_leases.claim("a", 1)
    assert claimed.request.messages == (
        ChatMessage(role="user", content="One?"),
        ChatMessage(role="assistant", content="One."),
        ChatMessage(role="user", content="Two?"),
    )


def test_a_question_without_an_answer_is_not_reported_twice(owner: User, make_turn: Make) -> None:
    """It failed and was sent again: the model sees it once."""
    failed = make_turn("One?", status=Status.FAILED)
    model = failed.language_model
    assert model is not None
    turns.start(owner, failed.conversation, "One, please?", model)
    [claimed] = turn_leases.claim("a", 1)
    assert claimed.request.messages == (ChatMessage(role="user", content="One, please?"),)


@pytest.mark.parametrize("parameters", [[1], "x", 7, None])
def test_parameters_that_are_no_object_stop_nobody(
    make_turn: Make, model: LanguageModel, parameters: object
) -> None:
    """An operator's slip must not take the runner down; the form refuses it."""
    model.parameters = [] if parameters is None else parameters
    model.save()
    make_turn()
    assert turn_leases.claim("a", 1)[0].request.options == {}
    with pytest.raises(ValidationError):
        model.full_clean()


def test_a_removed_model_leaves_no_call(make_turn: Make, model: LanguageModel) -> None:
    """The turn is claimed all the same: it has to be shown."""
    make_turn()
    model.delete()
    assert turn_leases.claim("a", 1)[0].call is None


def test_a_turn_whose_lease_ended_is_taken_over(make_turn: Make) -> None:
    """With what the dead runner had saved."""
    make_turn(status=Status.RUNNING, text="So f")
    [claimed] = turn_leases.claim("b", 1)
    assert (claimed.text, claimed.runs) == ("So f", 2)


def test_a_held_turn_is_not_taken_over(make_turn: Make) -> None:
    """Its runner renewed in time."""
    make_turn(status=Status.RUNNING, lease_until=timezone.now() + LEASE)
    assert turn_leases.claim("b", 1) == []


def test_a_runner_takes_nothing_over_from_itself(make_turn: Make) -> None:
    """It was late to renew; the answer is still growing in its hands."""
    turn = make_turn(status=Status.RUNNING, runner="a")
    assert turn_leases.claim("a", 1, [turn.pk]) == []


def test_keeping_renews_saves_and_reports_of_stops(make_turn: Make) -> None:
    """One call each second does for all turns of a runner."""
    turn, stopped, foreign = (
        make_turn(status=Status.RUNNING, runner=name, stop_requested=stop)
        for name, stop in (("a", False), ("a", True), ("b", False))
    )
    ids = [turn.pk, stopped.pk, foreign.pk]
    kept = turn_leases.renew("a", ids, {turn.pk: {"text": "x"}, foreign.pk: {"text": "x"}})
    assert kept.held == {turn.pk, stopped.pk}
    assert kept.stops == {stopped.pk}
    turn.refresh_from_db()
    foreign.refresh_from_db()
    assert turn.lease_until is not None
    assert turn.lease_until > timezone.now()
    assert (turn.text, foreign.text) == ("x", "")


def test_a_runner_that_lost_its_lease_cannot_finish(make_turn: Make) -> None:
    """It was suspended, and another one has the turn now."""
    turn = make_turn(status=Status.RUNNING, runner="b")
    assert turn_leases.finish("a", turn.pk, TEXT) is None
    turn.refresh_from_db()
    assert (turn.status, turn.text) == (Status.RUNNING, "")


def test_finishing_frees_the_turn_for_good(make_turn: Make) -> None:
    """No runner, no lease, a time at which it ended."""
    turn = make_turn(status=Status.RUNNING, runner="a")
    finished = turn_leases.finish("a", turn.pk, TEXT)
    assert finished is not None
    assert (finished.text, finished.runner, finished.lease_until) == ("So far", "", None)
    assert finished.finished_at is not None
    assert turn_leases.claim("b", 1) == []


def test_what_a_runner_lets_go_can_be_taken_at_once(make_turn: Make) -> None:
    """A restart need not wait for leases to end."""
    turn = make_turn(status=Status.RUNNING, runner="a", lease_until=timezone.now() + LEASE)
    turn_leases.release("a", {turn.pk: {"text": "So far"}})
    [claimed] = turn_leases.claim("b", 1)
    assert claimed.text == "So far"
