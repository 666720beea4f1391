"""A few damaged and hostile files of every kind; and that their faults would be seen."""

import os
import signal
import sys
import time
from functools import partial

import numpy as np
import pytest

from benchmarks.fuzz import FAULTS, KINDS, Specimen, fuzz, mutated, rows, specimens
from csc_cogd import InputError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is as Linux tells it")


def of_every_kind(_):
    return [specimen for kind in KINDS for specimen in specimens(kind)]


def test_damaged_files_of_every_kind_are_used_or_refused():
    said = []
    summary = fuzz("all", range(150), seed=5, say=said.append, specimens=of_every_kind)
    assert said == []
    assert summary.faults == 0
    assert summary.counts.keys() == {"used", "refused"}
    assert summary.counts.total() == 150


WHOLE = b"a whole file"


def refuse(path, folder):
    raise InputError(f"{path}: it is damaged")


def fail(path, folder):
    raise IndexError("somewhere deep")


def die(path, folder):
    os.kill(os.getpid(), signal.SIGBUS)


def hang(path, folder):
    time.sleep(600)


def grow(path, folder):
    bytearray(2**28)


def talk(path, folder):
    os.write(2, b"a warning of a library")


def talk_much(path, folder):
    raise InputError("one line\nand another")


CASES = {
    refuse: ("refused", "it is damaged"), fail: ("traceback", "IndexError: somewhere deep"), die: ("signal", "SIGBUS"),
    talk: ("printed", "a warning of a library"), talk_much: ("traceback", "one line\nand another"),
    hang: ("hang", "more than"), grow: ("memory", "MemoryError"),
}  # fmt: skip


def check(function, path, folder):
    if path.read_bytes() != WHOLE:
        function(path, folder)


def faulty(_):
    return [Specimen(".txt", "TOML", WHOLE, partial(check, function)) for function in CASES]


def test_every_fault_is_seen_and_the_files_behind_it_are_used(tmp_path):
    said, numbers = [], range(len(CASES))
    summary = fuzz("faulty", numbers, keep=tmp_path, say=said.append, specimens=faulty, patience=1, room=2**27)
    assert summary.counts == {"refused": 1, "traceback": 2, "signal": 1, "hang": 1, "memory": 1, "printed": 1}
    assert summary.faults == 6
    faults = [(number, what, text) for number, (what, text) in enumerate(CASES.values()) if what in FAULTS]
    for line, (number, what, text) in zip(said, faults, strict=True):
        assert line.startswith(f"faulty, file {number}: {what}: ")
        assert text in line
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"faulty-{number}.txt" for number, _, _ in faults]
    *_, row = rows([summary])
    assert row.startswith("| faulty | 7 | 0 | 1 | 2 | 1 | 1 | 1 | 1 |")


def refused(_):
    return [Specimen(".txt", "TOML", WHOLE, refuse)]


def test_a_whole_file_must_be_used():
    said = []
    assert fuzz("refused", [], say=said.append, specimens=refused).faults == 1
    assert "a whole file: " in said[0]


def test_the_same_seed_gives_the_same_files():
    for specimen in specimens("PNG") + specimens("NPZ"):
        first, second, other = (
            [mutated(np.random.default_rng((seed, number)), specimen.content, specimen.form) for number in range(5)]
            for seed in (1, 1, 2)
        )
        assert first == second != other
        assert specimen.content not in first
