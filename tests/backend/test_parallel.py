"""Chunks of a batch on threads, and how many these are."""

import threading

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import usable_processors
from csc_cogd.backend.parallel import limited_threads, map_chunks, thread_count
from csc_cogd.nn import ImageSet, Normalization
from csc_cogd.nn.data.batches import batches
from csc_cogd.nn.data.files import ImageFiles, in_threads


def idents(run, count):
    """The threads on which a function runs, of which `count` have to meet."""
    meeting, seen = threading.Barrier(count), set()

    def meet(*given):
        meeting.wait(timeout=20)
        seen.add(threading.get_ident())

    run(meet)
    return seen


@pytest.mark.parametrize("run", [lambda meet: map_chunks(meet, 8), lambda meet: list(in_threads(meet, range(8)))])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_so_many_threads_compute_and_read(threads, run):
    with limited_threads(threads):
        assert len(idents(run, threads)) == thread_count() == threads


def test_the_limit_ends_with_the_block_and_is_one_of_this_thread():
    with limited_threads(5), limited_threads(None):
        assert thread_count() == usable_processors()
    found = []
    with limited_threads(5):
        other = threading.Thread(target=lambda: found.append(thread_count()))
        other.start()
        other.join()
    assert found == [usable_processors()]


def test_no_threads_are_refused():
    with pytest.raises(InputError, match="threads"), limited_threads(-1):
        map_chunks(print, 1)


def test_images_that_are_read_ahead_are_read_on_as_many_threads(monkeypatch):
    seen = []

    def read(files, indices, crops=None):
        seen.append(thread_count())
        return np.zeros((len(indices), *files.size, 3), np.uint8)

    monkeypatch.setattr(ImageFiles, "read", read)
    images = ImageSet(ImageFiles(("a", "b", "c"), (2, 2)), np.zeros(3, int), ("one",))
    with limited_threads(7):
        assert len(list(batches(images, 1, normalization=Normalization((0.5,) * 3, (0.5,) * 3)))) == 3
    assert seen == [7, 7, 7]
