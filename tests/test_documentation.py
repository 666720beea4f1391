"""Every public name is documented: what it does, takes, gives and raises, with an example that the suite runs."""

import dataclasses
import inspect
import re

import pytest

import csc_cogd
import csc_cogd.nn

NAMES = [(module, name) for module in (csc_cogd, csc_cogd.nn) for name in module.__all__ if name != "__version__"]
WITHOUT_EXAMPLE = {
    "prune": "takes seconds; in the guide",
    "export_onnx": "needs an optional package; in the guide",
    "quantize_onnx": "needs optional packages; in the guide",
    "evaluate_onnx": "needs optional packages; in the guide",
    "import_onnx": "needs an optional package; in the guide",
    "InputError": "as CscCogdError",
    "DeviceError": "as CscCogdError",
}


def sections_of(value):
    """The texts of a numpydoc docstring by their headings; the summary by an empty one."""
    parts = re.split(r"^(\w+)\n-+$", inspect.getdoc(value) or "", flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented(section):
    """The names that a section of parameters or attributes describes."""
    heads = re.sub(r"\\\n", " ", section)
    lines = [line.partition(" : ")[0] for line in heads.splitlines() if line and not line.startswith(" ")]
    return {name.strip("* ") for line in lines for name in line.split(",") if name.strip()}


def is_record(value):
    """Whether it is a class of fields, and not one that is called with arguments of its own."""
    return inspect.isclass(value) and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_what_it_takes_gives_and_shows_is_documented(module, name):
    value = getattr(module, name)
    sections = sections_of(value)
    assert sections[""].strip()
    if not (inspect.isclass(value) and issubclass(value, Exception)):
        parameters = inspect.signature(value).parameters.values()
        taken = {parameter.name for parameter in parameters} - ({"args", "kwargs"} if name == "EpochHook" else set())
        described = documented(sections.get("Parameters", "") or sections.get("Attributes", ""))
        anything = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)
        assert described >= taken - {"options"} if anything else described == taken
    if inspect.isfunction(value) and inspect.signature(value).return_annotation != "None":
        assert "Returns" in sections or "Yields" in sections or name == "no_grad"
    if "Attributes" not in sections or not is_record(value):
        assert ("Examples" in sections) != (name in WITHOUT_EXAMPLE)
    if "InputError" in (inspect.getsource(value) if inspect.isfunction(value) else ""):
        assert "Raises" in sections


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[name for _, name in NAMES])
def test_methods_and_properties_say_what_they_are(module, name):
    value = getattr(module, name)
    members = vars(value) if inspect.isclass(value) else {}
    own = {
        key
        for key, member in members.items()
        if callable(getattr(member, "__func__", member)) or isinstance(member, property)
    }
    assert [key for key in own if not key.startswith("_") and not inspect.getdoc(getattr(value, key))] == []
