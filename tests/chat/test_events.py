"""However many events pile up, the page ends the same."""

from hypothesis import given
from hypothesis import strategies as st

from chat.events import Event, EventKind, fold, join_answer, message

texts = st.text(alphabet="ab<&\n\r ", max_size=6)
events = st.one_of(
    st.builds(Event, kind=st.just(EventKind.TAIL), text=texts),
    st.builds(Event, kind=st.just(EventKind.REASONING), text=texts),
    st.builds(Event, kind=st.just(EventKind.BLOCK), text=texts, html=texts, tail=texts),
    st.builds(
        Event, kind=st.just(EventKind.RESET), text=texts, html=texts, tail=texts, reasoning=texts
    ),
)


def shown(log: list[Event], cuts: list[int]) -> tuple[str, str, str]:
    """What a page shows after changes that were cut from the log in these places."""
    html = tail = reasoning = ""
    for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        change = fold(log[start:end])
        if change.replace:
            html = reasoning = ""
        html += "".join(change.html)
        reasoning += "".join(change.reasoning)
        tail = ("" if change.new_tail else tail) + "".join(change.tail)
    return html, tail, reasoning


@given(log=st.lists(events, max_size=12), data=st.data())
def test_any_cut_of_a_log_ends_in_the_same_page(log: list[Event], data: st.DataObject) -> None:
    """One message for each event, or one for all: no difference."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=4)))
    one_by_one = list(range(1, len(log)))
    assert shown(log, cuts) == shown(log, one_by_one)


@given(event=events)
def test_an_event_survives_the_log(event: Event) -> None:
    """Stored as strings, read as the same event."""
    assert Event.from_fields(event.fields()) == event


def test_the_answer_is_the_text_since_the_last_reset() -> None:
    """Every event carries its piece of the text, finished blocks too."""
    log = [
        Event(kind=EventKind.RESET, text="old"),
        Event(kind=EventKind.RESET, text="The ", reasoning="Hm"),
        Event(kind=EventKind.REASONING, text="m."),
        Event(kind=EventKind.TAIL, text="an"),
        Event(kind=EventKind.BLOCK, text="swer.\n\n", html="<p>The answer.</p>"),
    ]
    assert join_answer(log) == ("The answer.\n\n", "Hmm.")


def test_a_message_escapes_what_is_not_markup() -> None:
    """The open block and the reasoning are text, whatever they look like."""
    change = fold(
        [Event(kind=EventKind.TAIL, text="<b>&"), Event(kind=EventKind.REASONING, text="<i>")]
    )
    data = message(7, change, "5-1").decode()
    assert "&lt;b&gt;&amp;" in data
    assert "&lt;i&gt;" in data


def test_a_message_is_one_event_with_its_id_and_every_line_marked() -> None:
    """A bare line break would end the event early."""
    data = message(7, fold([Event(kind=EventKind.TAIL, text="a\n\nb\r\n")]), "5-1").decode()
    assert data.startswith("id: 5-1\ndata: ")
    assert data.count("\n\n") == 1
    assert all(line.startswith(("id: ", "data: ")) for line in data.strip().split("\n"))


def test_the_route_and_a_reset_are_reported_in_full() -> None:
    """The route's parts as they are; a reset empties what had been there."""
    route = message(7, fold([Event(kind=EventKind.ROUTE, html="<chip>")]), "5-1").decode()
    assert route == "id: 5-1\ndata: <chip>\n\n"
    reset = message(7, fold([Event(kind=EventKind.RESET, code=True, tail="x")]), "").decode()
    assert 'hx-target="#reasoning-7" hx-swap="innerHTML"' in reset
    assert 'data-kind="code">x</div>' in reset


def test_an_end_stands_for_everything_before_it() -> None:
    """The finished message replaces the growing one; nothing else needs to be applied."""
    change = fold([Event(kind=EventKind.TAIL, text="x"), Event(kind=EventKind.END, html="<all>")])
    assert message(7, change, "5-2") == b"id: 5-2\ndata: <all>\n\n"
