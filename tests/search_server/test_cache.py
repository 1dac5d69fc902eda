"""What is kept for a while stays within its bounds, and goes in the right order."""

from search_server.cache import BoundedCache


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def cache(clock=None, **bounds):
    bounds = {"max_bytes": 100, "max_count": 10, **bounds}
    return BoundedCache(len, clock=clock or Clock(), **bounds)


def test_a_value_comes_back_until_its_time_is_over():
    clock = Clock()
    kept = cache(clock, seconds=60)
    kept.put("a", b"picture")
    clock.now = 59
    assert kept.get("a") == b"picture"
    clock.now = 61
    assert kept.get("a") is None
    assert len(kept) == 0


def test_the_longest_unused_goes_first_when_room_or_places_run_out():
    kept = cache(max_bytes=30)
    for name in "abc":
        kept.put(name, bytes(10))
    kept.get("a")
    kept.put("d", bytes(10))
    assert [name for name in "abcd" if kept.get(name)] == ["a", "c", "d"]
    few = cache(max_count=2)
    for name in "abc":
        few.put(name, b"x")
    assert [name for name in "abc" if few.get(name)] == ["b", "c"]


def test_a_value_that_replaces_another_takes_its_room_not_more():
    kept = cache(max_bytes=30)
    kept.put("a", bytes(10))
    for _ in range(20):
        kept.put("b", bytes(20))
    assert kept.get("a") is not None
    assert len(kept.get("b")) == 20


def test_a_value_larger_than_all_the_room_is_not_kept_and_pushes_nothing_out():
    kept = cache(max_bytes=30)
    kept.put("a", bytes(30))
    kept.put("b", bytes(31))
    assert kept.get("a") is not None
    assert kept.get("b") is None
