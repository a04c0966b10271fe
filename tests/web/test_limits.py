"""Token buckets against a count by hand, and addresses that cannot be read back."""

import time
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.web.limits import MAX_BUCKETS, AddressKeys, TokenBuckets


@settings(max_examples=100)
@given(st.integers(1, 10), st.floats(1, 600), st.lists(st.floats(0, 30), max_size=80))
def test_never_more_than_burst_plus_rate(burst: int, per_minute: float, gaps: list[float]) -> None:
    now = 0.0
    buckets = TokenBuckets(burst, per_minute, clock=lambda: now)
    allowed = 0
    for gap in gaps:
        now += gap
        wait = buckets.take("k")
        allowed += not wait
        assert allowed <= burst + now * per_minute / 60 + 1e-6
        if wait:
            now += wait + 1e-6
            assert buckets.take("k") == 0.0
            allowed += 1


def test_keys_do_not_share_a_bucket() -> None:
    buckets = TokenBuckets(1, 1, clock=lambda: 0.0)
    assert [buckets.take(key) > 0 for key in "abab"] == [False, False, True, True]


class SlowKey(str):
    """A key that lets other threads run at every look-up."""

    def __hash__(self) -> int:
        time.sleep(0.001)
        return super().__hash__()


def test_threads_together_get_no_more_than_the_burst() -> None:
    buckets = TokenBuckets(4, 1, clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        allowed = list(pool.map(lambda _: buckets.take(SlowKey("k")) == 0.0, range(16)))
    assert sum(allowed) == 4


def test_a_flood_of_keys_does_not_grow_memory() -> None:
    buckets = TokenBuckets(2, 1, clock=lambda: 0.0)
    for number in range(MAX_BUCKETS + 1000):
        buckets.take(str(number))
    assert len(buckets._buckets) == MAX_BUCKETS


def test_address_keys() -> None:
    keys, other_process = AddressKeys(), AddressKeys()
    assert keys.key("203.0.113.7") == keys.key("203.0.113.7") != keys.key("203.0.113.8")
    assert keys.key("203.0.113.7") != other_process.key("203.0.113.7")
    assert keys.key("2001:db8::1") == keys.key("2001:db8::ffff:2") != keys.key("2001:db8:0:1::1")
    assert keys.key("fe80::1%eth0") == keys.key("fe80::2")
    assert keys.key("::ffff:203.0.113.7") != keys.key("::ffff:203.0.113.8")
    assert keys.key("::ffff:203.0.113.7") == keys.key("203.0.113.7")
    assert keys.key("testclient")
