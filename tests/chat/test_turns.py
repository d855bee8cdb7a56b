"""Questions, replies, siblings and stops, as rows."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from chat import turns
from chat.models import Message, Role, Status
from providers.models import LanguageModel

Make = Callable[..., Message]


def test_a_question_and_its_pending_reply_are_written_together(
    owner: User, model: LanguageModel
) -> None:
    """The reply names its model from the start, and the conversation remembers it."""
    reply = turns.start(owner, None, "What is tea?\nTell me.", model)
    question = reply.parent
    assert question is not None
    assert (question.role, question.text) == (Role.USER, "What is tea?\nTell me.")
    assert (reply.status, reply.model_name) == (Status.PENDING, "tiny")
    reply.conversation.refresh_from_db()
    assert reply.conversation.title == "What is tea?"
    assert reply.conversation.language_model == model


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  Hello   there \nmore", "Hello there"),
        ("word " * 30, ("word " * 12).strip() + "…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_title_is_the_first_words_of_the_first_line(text: str, title: str) -> None:
    """Cut at a word's end where there is one."""
    assert turns.title_of(text) == title


def test_the_next_question_follows_the_last_reply(owner: User, make_turn: Make) -> None:
    """One path from the first message on."""
    first = make_turn(status=Status.DONE, text="Hi.")
    assert first.language_model is not None
    second = turns.start(owner, first.conversation, "And?", first.language_model)
    assert [m.text for m in turns.thread(first.conversation)] == ["Hello?", "Hi.", "And?", ""]
    assert second.parent is not None
    assert second.parent.parent_id == first.pk


def test_one_turn_at_a_time(owner: User, model: LanguageModel, make_turn: Make) -> None:
    """Neither a second question nor another answer while one is under way."""
    turn = make_turn()
    with pytest.raises(turns.StillAnswering):
        turns.start(owner, turn.conversation, "Quick!", model)
    with pytest.raises(turns.StillAnswering):
        turns.retry(turn, model)


def test_another_answer_stands_in_place_of_the_first(model: LanguageModel, make_turn: Make) -> None:
    """Siblings: both are kept, the newest is shown."""
    failed = make_turn(status=Status.FAILED)
    again = turns.retry(failed, model)
    assert again.parent_id == failed.parent_id
    assert again.request_id != failed.request_id
    assert [m.pk for m in turns.thread(failed.conversation)] == [failed.parent_id, again.pk]


def test_an_answer_that_was_followed_gets_no_sibling(
    owner: User, model: LanguageModel, make_turn: Make
) -> None:
    """A stale tab would hide everything that was said after it."""
    answered = make_turn(status=Status.DONE, text="Yes.")
    later = turns.start(owner, answered.conversation, "And then?", model)
    Message.objects.filter(pk=later.pk).update(status=Status.DONE, text="Then this.")
    with pytest.raises(turns.WentOn):
        turns.retry(answered, model)
    assert turns.thread(answered.conversation)[-1].pk == later.pk


def test_stopping_a_turn_nobody_has_taken_ends_it(make_turn: Make) -> None:
    """There is no runner to wait for."""
    turn = make_turn()
    turns.stop(turn)
    turn.refresh_from_db()
    assert turn.status == Status.STOPPED
    assert turn.finished_at is not None


def test_stopping_a_running_turn_leaves_the_end_to_its_runner(make_turn: Make) -> None:
    """The flag is in the row, whatever becomes of the notice."""
    turn = make_turn(status=Status.RUNNING)
    turns.stop(turn)
    turn.refresh_from_db()
    assert (turn.status, turn.stop_requested) == (Status.RUNNING, True)


def test_stopping_a_finished_turn_changes_nothing(make_turn: Make) -> None:
    """The button was pressed a moment too late."""
    turn = make_turn(status=Status.DONE)
    turns.stop(turn)
    turn.refresh_from_db()
    assert (turn.status, turn.stop_requested) == (Status.DONE, False)


def test_a_change_of_model_is_marked(owner: User, model: LanguageModel, make_turn: Make) -> None:
    """The page says from where on another model answers."""
    first = make_turn(status=Status.DONE, text="Hi.")
    other = LanguageModel.objects.create(provider=model.provider, model_id="big", name="big")
    turns.start(owner, first.conversation, "And?", other)
    thread = turns.marked(turns.thread(first.conversation))
    assert [m.switched for m in thread] == [False, False, False, True]
    assert [m.followed for m in thread] == [True, True, True, False]
