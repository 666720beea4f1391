"""What networks cost."""

import pytest

from csc_cogd import InputError
from csc_cogd.nn import build_network, measure_costs, remove_channels, save_network
from csc_cogd.nn.tensor import Tensor


def test_a_network_costs_less_without_channels(tmp_path):
    network = build_network("resnet20")
    smaller = remove_channels(network, {"layer1.0.conv1": [0, 1]})
    before, after = measure_costs([network, smaller], batch_size=2, repeats=2)
    assert before.flops - after.flops == 2 * 14 * 16 * 9 * 32 * 32
    assert before.parameters - after.parameters == 14 * (2 * 16 * 9 + 2)
    save_network(smaller, tmp_path / "smaller.safetensors", "resnet20")
    assert 0 <= (tmp_path / "smaller.safetensors").stat().st_size - after.file_bytes < 200
    assert min(before.seconds, after.seconds) > 0
    assert network.training


def test_passes_take_turns_and_the_first_is_not_counted(monkeypatch):
    calls, clock = [], iter(range(1000))

    class Counted:
        def __init__(self, name):
            self.network, self.name = build_network("resnet20"), name

        def __getattr__(self, attribute):
            return getattr(self.network, attribute)

        def __call__(self, x: Tensor):
            calls.append(self.name)
            if len(calls) <= 2:
                next(clock)  # a slow start
            return x

    monkeypatch.setattr("csc_cogd.nn.pruning.cost.perf_counter", lambda: next(clock))
    monkeypatch.setattr("csc_cogd.nn.pruning.cost.flops_by_layer", lambda *_, **__: {})
    monkeypatch.setattr("csc_cogd.nn.pruning.cost.onnxruntime_seconds", lambda *_: None)
    costs = measure_costs([Counted("a"), Counted("b")], batch_size=1, repeats=3)
    assert calls == ["a", "b"] * 4
    assert [cost.seconds for cost in costs] == [1, 1]


def test_nothing_is_measured_no_times():
    with pytest.raises(InputError, match="batch_size must be 1 or more, got 0"):
        measure_costs([build_network("resnet20")], batch_size=0)
