"""Vectors in memory: the nearest of a namespace are found, and old ones leave."""

import numpy as np
import pytest

from tests.unit.gateway.loop import run
from trident.gateway.cache.memory_vectors import MemoryVectors
from trident.gateway.cache.vectors import Item


def item(key, vector, namespace="n", ttl_s=60.0):
    return Item(namespace, key, np.array(vector, np.float32), "", ttl_s, tenant="t")


def test_the_nearest_of_a_namespace_are_found_however_many_there_are():
    """As a list and as an index, after deletions too, compared with all cosines."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    async def compared(count):
        vectors = MemoryVectors(1000)
        for number in range(count):
            await vectors.add(item(str(number), rows[number], "ab"[number % 2]))
        for number in range(0, count, 10):
            assert await vectors.drop(key=str(number)) == [str(number)]
        there = [number for number in range(count) if number % 10 and number % 2 == 0]
        expected = sorted(there, key=lambda number: -float(rows[number] @ rows[0]))[:3]
        found = await vectors.nearest("a", rows[0], 3)
        assert [int(near.key) for near in found] == expected
        assert [near.cosine for near in found] == pytest.approx([rows[n] @ rows[0] for n in expected], abs=2e-3)

    for count in (20, 300):
        run(compared(count))


def test_of_too_many_vectors_those_that_nobody_came_near_leave_first():
    async def left():
        vectors = MemoryVectors(2)
        await vectors.add(item("a", [1, 0]))
        await vectors.add(item("b", [0, 1], "m"))
        await vectors.nearest("n", np.array([1, 0], np.float32), 1)
        await vectors.add(item("c", [0, 1]))
        assert await vectors.nearest("m", np.array([0, 1], np.float32), 1) == []
        return await vectors.count(), [near.key for near in await vectors.nearest("n", np.array([1, 0], "f4"), 5)]

    assert run(left()) == (2, ["a", "c"])


def test_a_vector_is_not_found_when_its_time_is_over_and_replaced_by_one_of_its_key():
    async def ended():
        now = [0.0]
        vectors = MemoryVectors(10, lambda: now[0])
        await vectors.add(item("a", [1, 0], ttl_s=10))
        await vectors.add(item("a", [0, 1], ttl_s=10))
        found = await vectors.nearest("n", np.array([1, 0], np.float32), 5)
        assert [(near.key, near.cosine) for near in found] == [("a", 0.0)]
        now[0] = 10.0
        return await vectors.nearest("n", np.array([1, 0], np.float32), 5), await vectors.count()

    assert run(ended()) == ([], 0)


def test_what_has_a_tag_is_dropped_by_it_and_by_no_tag_that_it_had():
    def tagged(key, *tags):
        return Item("n", key, np.array([1, 0], np.float32), "", 60, tenant="t", tags=frozenset(tags))

    async def dropped():
        vectors = MemoryVectors(10)
        for each in (tagged("a", "x"), tagged("b", "x", "y"), tagged("c", "y"), tagged("a", "z")):
            await vectors.add(each)
        assert await vectors.drop(tag="x", tenant="other") == []
        found = [await vectors.drop(tag="x"), await vectors.drop(tag="x"), await vectors.drop(key="c", tag="z")]
        return found, await vectors.count()

    assert run(dropped()) == ([["b"], [], []], 2)
