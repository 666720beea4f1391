"""Weights in files."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from csc_cogd import InputError
from csc_cogd.nn import build_network, load_checkpoint, save_checkpoint

kinds = st.sampled_from(["f4", "f8", "f2", "i8", "u1"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5,
)  # fmt: skip


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(min_size=1).filter(lambda key: key != "__metadata__"),
        kinds.flatmap(lambda kind: arrays_of.arrays(kind, arrays_of.array_shapes())),
        min_size=1,
    ),
    st.dictionaries(st.text(), anything, max_size=3),
)
def test_arrays_and_metadata_come_back(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    save_checkpoint(arrays, path, metadata=metadata)
    found, about = load_checkpoint(path)
    assert about == metadata
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)


def test_networks_come_back(tmp_path):
    save_checkpoint(
        build_network("resnet20", seed=1).state_dict(), tmp_path / "a.safetensors", metadata={"name": "resnet20"}
    )
    state, metadata = load_checkpoint(tmp_path / "a.safetensors")
    network = build_network(metadata["name"], seed=2)
    network.load_state_dict(state)
    assert all((array == state[key]).all() for key, array in network.state_dict().items())


def test_arrays_that_are_not_contiguous_are_written_as_they_are(tmp_path):
    array = np.arange(12.0).reshape(3, 4).T[::-1]
    save_checkpoint({"a": array}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "a.safetensors")[0]["a"], array)


def test_metadata_of_other_programs_is_text_or_json(research_data):
    metadata = load_checkpoint(research_data / "weights" / "resnet20_cifar10.safetensors")[1]
    assert metadata["norm_mean"] == [0.485, 0.456, 0.406]
    assert metadata["license"] == "BSD-2-Clause"


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint({"a": np.zeros(1)}, path)
    with pytest.raises(InputError, match="exists already"):
        save_checkpoint({"a": np.ones(1)}, path)
    assert load_checkpoint(path)[0]["a"] == 0
    save_checkpoint({"a": np.ones(1)}, path, overwrite=True)
    assert load_checkpoint(path)[0]["a"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({"a": np.zeros(1, complex)}, None, "arrays must hold real numbers, for safetensors refuses"),
        ({"a": np.array(["text"])}, None, "arrays must hold real numbers, for safetensors refuses"),
        ({"a": np.array([None])}, None, "arrays must hold real numbers, for safetensors refuses"),
        ({}, None, "arrays must not be empty"),
        ({"a": np.zeros(1)}, {"a": np.zeros(1)}, "metadata must be texts, numbers, lists and mappings"),
    ],
)
def test_what_can_not_be_stored_leaves_no_file(tmp_path, arrays, metadata, message):
    with pytest.raises(InputError, match=message):
        save_checkpoint(arrays, tmp_path / "a.safetensors", metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickled", b"PK\x03\x04" + bytes(40), bytes(200)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model.pth: can't be read as safetensors .*convert .*safetensors.torch") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert ("torch.load(path, weights_only=True)" in str(caught.value)) == (content[:2] in (b"\x80\x04", b"PK"))


def test_cut_off_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint({"a": np.zeros(100)}, path)
    content = path.read_bytes()
    for length in (4, 20, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="can't be read as safetensors"):
            load_checkpoint(path)


def write_raw(path, kind, shape, content):
    """A safetensors file of an array of a kind that NumPy needn't have, beside one in float32."""
    header = {
        "a": {"dtype": kind, "shape": shape, "data_offsets": [0, len(content)]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [len(content), len(content) + 4]},
        "__metadata__": {"n": "7"},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content + np.float32(1.5).tobytes())


@pytest.fixture(params=[False, True])
def taught(request, monkeypatch):
    """NumPy by itself, and where a package has taught it more kinds of numbers."""
    if request.param:
        pytest.importorskip("ml_dtypes", reason="ml_dtypes, which comes with onnx, isn't installed: pip install '.[test]'")
    else:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)


@pytest.mark.usefixtures("taught")
def test_bfloat16_comes_as_float32(tmp_path):
    values = np.array([[1, -2.5, 0], [3.3895314e38, 9.1835e-41, -np.inf]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    write_raw(tmp_path / "a.safetensors", "BF16", [2, 3], halves.tobytes())
    arrays, about = load_checkpoint(tmp_path / "a.safetensors")
    assert (list(arrays), about) == (["a", "b"], {"n": 7})
    assert arrays["a"].dtype == np.float32
    np.testing.assert_array_equal(arrays["a"].view(np.uint32), halves.astype(np.uint32) << 16)
    np.testing.assert_allclose(arrays["a"], values, rtol=2**-7)
    assert arrays["b"] == np.float32(1.5)


@pytest.mark.usefixtures("taught")
def test_numbers_that_numpy_has_not_are_refused(tmp_path):
    write_raw(tmp_path / "a.safetensors", "F8_E4M3", [2], bytes(2))
    with pytest.raises(InputError, match=r"a.safetensors: a is of F8_E4M3, which NumPy hasn't: .*tensor.float"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.safetensors: no such file of weights"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_metadata_that_are_nested_too_deeply_stay_text(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3)}, tmp_path / "a.safetensors", metadata={"depth": "[" * 10**5})
    assert load_checkpoint(tmp_path / "a.safetensors")[1] == {"depth": "[" * 10**5}
