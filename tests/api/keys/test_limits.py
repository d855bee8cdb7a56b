"""A limit over several processes: never more than the bucket holds, refills, and lends."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from api.keys.limits import Grant, Lease, Rate, TokenBucket

STEP = st.tuples(
    st.sampled_from(["request", "request", "order", "deliver", "pass", "return"]),
    st.integers(0, 3),
)


@dataclass
class Processes:
    """Several leases of one bucket, whose orders may be answered late."""

    limit: int
    count: int
    now: float = 0.0
    admitted: int = 0
    redis_is_away: bool = False
    orders: dict[int, tuple[tuple[float, float], Grant | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rate = Rate(per_minute=self.limit)
        self.bucket = TokenBucket(rate, self.limit, 0.0)
        self.leases = [Lease("requests", rate) for _ in range(self.count)]

    def step(self, action: str, number: int) -> None:
        number %= self.count
        lease = self.leases[number]
        if action == "request" and lease.admits(1, self.now):
            lease.spend(1, self.now)
            self.admitted += 1
        elif action == "order" and lease.is_low and number not in self.orders:
            order = lease.take_order()
            grant = None if self.redis_is_away else self._take(*order)
            self.orders[number] = (order, grant)
        elif action == "deliver" and number in self.orders:
            order, granted = self.orders.pop(number)
            if granted:
                lease.fill(order, granted, self.now)
            else:
                lease.fill_alone(order, self.now)
        elif action == "return" and number not in self.orders and not self.redis_is_away:
            self._take(-lease.give_back(), 0)
        elif action == "pass":
            self.now += 0.7

    def _take(self, spent: float, requested: float) -> Grant:
        grant = self.bucket.take(self.now, spent, requested)
        return Grant(tokens=grant.tokens, level=grant.level, processes=self.count)


@given(st.integers(1, 100), st.integers(1, 4), st.lists(STEP, max_size=400))
def test_processes_exceed_a_limit_by_one_request_each(
    limit: int, count: int, steps: list[tuple[str, int]]
) -> None:
    """In whatever order they request, ask, and are answered."""
    processes = Processes(limit=limit, count=count)
    for action, number in steps:
        processes.step(action, number)
    assert processes.admitted <= limit + processes.now * limit / 60 + count


@given(
    st.integers(1, 100),
    st.integers(1, 4),
    st.lists(STEP, max_size=200),
    st.lists(STEP, max_size=200),
)
def test_without_redis_each_process_has_its_share(
    limit: int, count: int, before: list[tuple[str, int]], during: list[tuple[str, int]]
) -> None:
    """What is known of the shared bucket is divided once more, and never lent twice."""
    processes = Processes(limit=limit, count=count)
    for number in range(count):  # all have heard how many they are
        processes.step("request", number)
        processes.step("order", number)
        processes.step("deliver", number)
    for action, number in before:
        processes.step(action, number)
    processes.redis_is_away = True
    for action, number in during:
        processes.step(action, number)
    assert processes.admitted <= 2 * limit + processes.now * limit / 60 + 2 * count


def test_a_share_is_a_part_of_the_limit() -> None:
    """With nothing known of the bucket, two processes have half each; then it refills by half."""
    lease = Lease("requests", Rate(per_minute=60), _processes=2)
    admitted = 0
    for _ in range(100):
        if lease.admits(1, 0.0):
            lease.spend(1, 0.0)
            admitted += 1
        lease.fill_alone(lease.take_order(), 0.0)
    assert 30 <= admitted <= 31
    assert 0 < lease.wait_seconds(0.0) <= 4


def test_what_was_used_without_redis_is_reported_when_it_is_back() -> None:
    """The shared bucket has it deducted."""
    lease, bucket = (
        Lease("requests", Rate(per_minute=60)),
        TokenBucket(Rate(per_minute=60), 60, 0.0),
    )
    for _ in range(10):
        lease.spend(1, 0.0)
        lease.fill_alone(lease.take_order(), 0.0)
    order = lease.take_order()
    lease.fill(order, bucket.take(0.0, *order), 0.0)
    assert bucket.level + lease.left == 50


def test_a_used_up_limit_names_the_wait() -> None:
    """Until the bucket has a whole token again."""
    lease, bucket = Lease("requests", Rate(per_minute=5)), TokenBucket(Rate(per_minute=5), 5, 0.0)
    for _ in range(5):
        assert lease.admits(1, 0.0)
        lease.spend(1, 0.0)
        order = lease.take_order()
        lease.fill(order, bucket.take(0.0, *order), 0.0)
    assert not lease.admits(1, 0.0)
    assert lease.wait_seconds(0.0) == 12
    assert lease.admits(1, 12.0)
    figures = lease.figures(0.0)
    assert (figures.limit, figures.remaining, figures.reset_seconds) == (5, 0, 60)
