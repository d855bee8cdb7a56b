"""Questions, replies, siblings and stops, as rows."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection

from chat import turns
from chat.models import Conversation, Message, Role, Status
from providers.models import LanguageModel, Provider

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
    assert turns.make_title(text) == title


def test_the_next_question_follows_the_last_reply(owner: User, make_turn: Make) -> None:
    """One path from the first message on."""
    first = make_turn(status=Status.DONE, text="Hi.")
    assert first.language_model is not None
    second = turns.start(owner, first.conversation, "And?", first.language_model)
    assert [m.text for m in turns.thread(first.conversation)] == ["Hello?", "Hi.", "And?", ""]
    assert second.parent is not None
    assert second.parent.parent_id == first.pk


def test_a_form_sent_twice_makes_one_turn(owner: User, model: LanguageModel) -> None:
    """In a new conversation and in an old one; another text in the same form is another turn."""
    first = turns.start(owner, None, "Hello", model, "form-1")
    with pytest.raises(turns.AlreadySent) as sent:
        turns.start(owner, None, "Hello", model, "form-1")
    assert sent.value.reply == first
    other = turns.start(owner, None, "Hello again", model, "form-1")
    Message.objects.filter(pk=other.pk).update(status=Status.DONE)
    again = turns.start(owner, other.conversation, "And?", model, "form-2")
    with pytest.raises(turns.AlreadySent) as sent:
        turns.start(owner, other.conversation, "And?", model, "form-2")
    assert sent.value.reply == again
    assert Conversation.objects.count() == 2


def test_a_form_token_is_one_users(owner: User, stranger: User, model: LanguageModel) -> None:
    """Nobody is led to a stranger's conversation by its token."""
    turns.start(owner, None, "Hello", model, "form-1")
    reply = turns.start(stranger, None, "Hello", model, "form-1")
    assert reply.conversation.owner_id == stranger.pk


@pytest.mark.django_db(transaction=True)
def test_two_forms_sent_at_the_same_moment_make_one_turn(
    transactional_db: None, django_user_model: type[User], make_provider: Callable[..., Provider]
) -> None:
    """Both transactions are open: the unique row decides."""
    user = django_user_model.objects.create_user("alice")
    model = make_provider("Acme", "tiny").language_models.get()

    def send(_: int) -> str:
        try:
            turns.start(user, None, "Hello", model, "form-1")
        except turns.AlreadySent:
            return "again"
        finally:
            connection.close()
        return "sent"

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(send, range(4)))
    assert outcomes == ["again", "again", "again", "sent"]
    assert Conversation.objects.count() == 1


def test_a_second_try_of_an_answer_that_has_a_newer_one_makes_none(
    model: LanguageModel, make_turn: Make
) -> None:
    """Two presses of "Try again", or a page that is out of date."""
    failed = make_turn(status=Status.FAILED)
    again = turns.retry(failed, model)
    with pytest.raises(turns.AlreadySent) as sent:
        turns.retry(failed, model)
    assert sent.value.reply == again


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
    with pytest.raises(turns.HasFollowUp):
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
    thread = turns.mark_switches(turns.thread(first.conversation))
    assert [m.switched for m in thread] == [False, False, False, True]
    assert [m.followed for m in thread] == [True, True, True, False]
