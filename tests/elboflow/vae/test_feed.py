"""The batches of an epoch: each example once, in an order of (seed, epoch), held in memory or streamed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elboflow.settings import WorkError
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import Examples
from elboflow.vae.families.flat import Flat
from elboflow.vae.terms import Specs
from tests.elboflow.vae.given import image, images

if TYPE_CHECKING:
    from elboflow.vae.training.feed import Feed

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SPECS = image((1, 2, 1), 256)


@dataclass
class Shards:
    """A split whose examples have their numbers as keys; it counts what is read."""

    counts: list[int]
    broken: int | None = None
    reads: list[int] = field(default_factory=list)

    def read(self, shard: int) -> Examples:
        self.reads.append(shard)
        if shard == self.broken:
            raise WorkError(f"the shard {shard} is corrupted")
        keys = sum(self.counts[:shard]) + np.arange(self.counts[shard])
        return images(keys.astype(np.uint16).view(np.uint8).reshape(-1, 1, 2, 1), keys)


def feed_of(source: Shards, batch: int, seed: int, fits: float, *place: int, specs: Specs = SPECS) -> "Feed":
    """Returns the feed of a split where `fits` examples fit into memory."""
    from elboflow.vae.training.feed import Feed

    # Two values and a weight: six bytes. A person's memory is whole megabytes.
    training = TrainingConfig(batch_size=batch).model_copy(update={"memory_megabytes": fits * 6e-6})
    return Feed(Job(source, source, specs, Flat(), training, seed, Path(), {}), *place)


def to_device(examples: Examples, capacity: int) -> np.ndarray:
    assert len(examples) <= capacity
    return examples.keys


def batches(feed: "Feed", epoch: int, skip: int = 0) -> np.ndarray:
    """Returns the keys of each batch, [steps, batch]."""
    found = [portion.on_device[portion.rows] for portion in feed.epoch(epoch, skip, to_device)]
    return np.concatenate([np.empty((0, feed.batch), int), *found])


COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
BATCH = st.sampled_from([1, 2, 3, 4, 8, 12])
FITS = st.sampled_from([0, 9, 30, 10**6])  # examples


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS, batch=BATCH, memory=FITS, seed=st.integers(0, 2**32), epoch=st.integers(1, 10**5))
def test_an_epoch_shows_each_example_once_but_for_less_than_a_batch(counts, batch, memory, seed, epoch):
    with feed_of(Shards(counts), batch, seed, memory) as feed:
        if feed.steps:
            shown = batches(feed, epoch)
            assert shown.shape == (sum(counts) // batch, batch)
            assert len(np.unique(shown)) == shown.size


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS, batch=BATCH, memory=FITS, seed=st.integers(0, 2**32), data=st.data())
def test_what_is_left_of_an_epoch_is_what_would_have_followed(counts, batch, memory, seed, data):
    skip = data.draw(st.integers(0, sum(counts) // batch))
    with feed_of(Shards(counts), batch, seed, memory) as feed:
        if feed.steps:
            assert np.array_equal(batches(feed, 3)[skip:], batches(feed, 3, skip))


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS, batch=st.sampled_from([2, 4, 12]), memory=FITS, seed=st.integers(0, 2**32))
def test_machines_share_each_batch_and_read_no_shard_that_they_need_not(counts, batch, memory, seed):
    if sum(counts) < batch:
        return
    with feed_of(Shards(counts), batch, seed, 10**6) as alone:
        whole = batches(alone, 2)
    parts = []
    for index in range(2):
        source = Shards(counts)
        with feed_of(source, batch, seed, memory, index, 2) as feed:
            parts.append(batches(feed, 2))
        starts = np.cumsum(counts) - counts
        middle = sum(counts) // 2
        mine = starts < middle if index == 0 else starts + counts > middle
        assert set(source.reads) <= set(np.flatnonzero(mine).tolist())
    assert parts[0].shape == parts[1].shape
    if memory > 1000:
        assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert not set(parts[0].flat) & set(parts[1].flat)


@pytest.mark.parametrize("memory", [40, 10**6], ids=["streamed", "held"])
def test_the_order_is_a_function_of_seed_and_epoch(memory):
    def order(seed: int, epoch: int, *before: int) -> list[list[int]]:
        with feed_of(Shards([50, 70, 30]), 4, seed, memory) as feed:
            for other in before:
                batches(feed, other)
            return batches(feed, epoch).tolist()

    assert order(1, 2) == order(1, 2) == order(1, 2, 1) == order(1, 2, 5, 3)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_a_streamed_order_mixes_the_shards():
    with feed_of(Shards([100] * 20), 10, 0, 1800) as feed:
        assert feed.is_streamed
        first = batches(feed, 1)[: feed.capacity // 10]
    assert len(set((first // 100).flat)) >= 4
    assert all(len(set((batch // 100).flat)) > 1 for batch in first)


def portions(feed: "Feed", epoch: int, seen: list[int]) -> Iterator[np.ndarray]:
    def counted(examples: Examples, capacity: int) -> np.ndarray:
        seen.append(len(examples))
        return examples.keys

    for portion in feed.epoch(epoch, 0, counted):
        yield portion.on_device


def test_one_chunk_is_read_ahead_and_no_more_even_into_the_next_epoch():
    held: list[int] = []
    with feed_of(Shards([10] * 16), 10, 0, 80) as feed:
        assert feed.capacity == 20
        for number, _ in enumerate(portions(feed, 1, held), 1):
            time.sleep(0.05)
            assert len(held) == number + 1
        assert number == 8
        for _ in portions(feed, 2, held):
            break
    assert set(held) == {20}


def test_skipped_steps_are_not_read():
    source = Shards([10] * 10)
    with feed_of(source, 10, 0, 80) as feed:
        assert len(batches(feed, 1, skip=8)) == 2
        feed._thread.shutdown()  # what is read ahead of the next epoch is no matter here
    assert len(source.reads) <= 3 + 3


def test_what_goes_wrong_while_reading_ahead_is_raised_as_it_is_where_it_is_needed():
    held: list[int] = []
    with (
        feed_of(Shards([10] * 16, broken=3), 10, 0, 80) as feed,
        pytest.raises(WorkError, match="the shard 3 is corrupted"),
    ):
        list(portions(feed, 1, held))
    assert len(held) < 8


def test_images_that_the_model_does_not_take_are_refused():
    for memory in (80, 10**6):
        with (
            feed_of(Shards([10] * 16), 10, 0, memory, specs=image((1, 2, 1), 8)) as feed,
            pytest.raises(WorkError, match="the train split holds 'image' with codes up to"),
        ):
            batches(feed, 1)


def test_reading_ends_with_the_training():
    with feed_of(Shards([10] * 16), 10, 0, 80) as feed:
        next(feed.epoch(1, 0, to_device))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("elboflow-feed")]
