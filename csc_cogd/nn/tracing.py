"""The graph of a network, read from the tape of one image of zeros."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from csc_cogd.errors import InputError
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Record, Taped, Tensor, history

Shape = tuple[int, int, int]


class Trace(NamedTuple):
    """The computation of one image.

    Attributes
    ----------
    network : Module
    image : Tensor
    output : Tensor
    results : list of Record
        All that was computed, in the order of computation; `made_by` says how.
    parameters : dict of Tensor to str
        The names of all parameters.
    makers : dict of Tensor to str
        The names of the modules that returned results; without those of functions within a module.
    """

    network: Module
    image: Tensor
    output: Tensor
    results: list[Taped]
    parameters: dict[Taped, str]
    makers: dict[Taped, str]


def trace(network: Module, image_shape: Shape = (3, 32, 32)) -> Trace:
    """Compute the output for an image of zeros, in inference, and return what is on the tape.

    Raises
    ------
    InputError
        If the image doesn't fit, or nothing could be recorded.
    """
    names: dict[Taped, str] = {parameter: name for name, parameter in network.named_parameters()}
    xp, dtype = network.array_kind()
    image = Tensor(xp.zeros((1, *image_shape), dtype), requires_grad=True)
    makers: dict[Taped, str] = {}
    with network.evaluating(), _listening(dict(network.named_modules()), makers):
        output = network(image)
    if not output.requires_grad:
        raise InputError("network", "must be traced outside of no_grad()")
    results = [one for one in history(output) if isinstance(one, Record)]
    return Trace(network, image, output, results, names, makers)


@contextmanager
def _listening(modules: dict[str, Module], makers: dict[Tensor, str]) -> Iterator[None]:
    """Note in `makers` which module first returned each tensor."""

    def listen(name: str, module: Module) -> None:
        def forward(x: Tensor) -> Tensor:
            y = type(module).forward(module, x)
            makers.setdefault(y, name)
            return y

        module.forward = forward  # type: ignore[method-assign]

    try:
        for name, module in modules.items():
            listen(name, module)
        yield
    finally:
        for module in modules.values():
            vars(module).pop("forward", None)
