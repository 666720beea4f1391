"""Modules: layers and networks, which hold parameters and say what is computed with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from csc_cogd.backend import array_module, as_channels_last, filled_like, get_backend, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.tensor import Tensor

DAMAGED = "holds NaN or infinity: these weights are damaged, or their training diverged: use others"
"""What is said of an array by its name."""


class Parameter(Tensor):
    """A tensor that is trained.

    Parameters
    ----------
    array : float32 or float64 array of NumPy or CuPy, any shape; kept, not copied

    Examples
    --------
    >>> Parameter(np.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, array: Any):
        super().__init__(array, requires_grad=True)


class Module(ABC):
    """Something with parameters, buffers (arrays that are kept but not trained) and modules inside: its attributes.

    They are named as in PyTorch, ``"layer1.0.conv1.weight"``, so that state dicts fit.

    Examples
    --------
    >>> class Halved(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter(np.full(2, 3.0))
    ...
    ...     def forward(self, x):
    ...         return (x + self.weight) * 0.5
    >>> Halved()(Tensor(np.ones(2))).array, [name for name, _ in Halved().named_parameters()]
    (array([2., 2.]), ['weight'])
    """

    buffer_names: tuple[str, ...] = ()
    """The attributes that are buffers."""
    training = True
    """Whether it is used in training, or in inference; :meth:`train` and :meth:`eval` change it."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """What is computed from `x`; each kind of module says it."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, whose name is `prefix`, and those inside, each with its name, in the order of their making."""
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters, each with its name."""
        for owner, name, key in self._places():
            if isinstance(value := getattr(owner, name), Parameter):
                yield key, value

    def parameters(self) -> list[Parameter]:
        """All parameters."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training: bool = True) -> Self:
        """Use it, and what is inside, in training."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Use it, and what is inside, in inference."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it, it is used in inference; afterwards each module is as before."""
        before = [(module, module.training) for _, module in self.named_modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in before:
                module.training = training

    def array_names(self) -> list[str]:
        """The names of all parameters and buffers."""
        return [key for _, _, key in self._places()]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers in main memory, by their names."""
        return {key: np.array(to_numpy(_array(owner, name))) for owner, name, key in self._places()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take parameters and buffers from arrays; their dtype and device stay those of this module.

        PyTorch's ``num_batches_tracked`` are passed over: with a fixed momentum nothing depends on them.

        Raises
        ------
        InputError
            If one is missing, unknown, of another shape, or not of finite real numbers; then nothing is changed.
        """
        places = {key: (owner, name) for owner, name, key in self._places()}
        given = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        if missing := [key for key in places if key not in given]:
            raise InputError(f"state: {_some(missing)} missing: these weights are of another network, or incomplete")
        if unknown := [key for key in given if key not in places]:
            raise InputError(f"state: {_some(unknown)} unknown: these weights are of another network")
        arrays = {key: to_numpy(value) for key, value in given.items()}
        for key, (owner, name) in places.items():
            wanted = _array(owner, name).shape
            if arrays[key].shape != wanted:
                raise InputError(f"state: {key} has shape {arrays[key].shape}: {wanted} is needed, is it another network's?")
            if arrays[key].dtype.kind not in "fiu":
                raise InputError(f"state: {key} is of {arrays[key].dtype}: real numbers are needed")
            with np.errstate(over="ignore", invalid="ignore"):
                converted = arrays[key].astype(_array(owner, name).dtype)
            if not (np.isfinite(arrays[key]).all() and np.isfinite(converted).all()):
                raise InputError(f"state: {key} {DAMAGED}")
        for key, (owner, name) in places.items():
            old = _array(owner, name)
            _put(owner, name, filled_like(old, arrays[key]))

    def non_finite(self) -> list[str]:
        """The names of the parameters and buffers that hold NaN or infinity."""
        arrays = ((key, _array(owner, name)) for owner, name, key in self._places())
        return [key for key, array in arrays if not array_module(array).isfinite(array).all()]

    def check_finite(self) -> None:
        """Raise InputError if a parameter or a buffer holds NaN or infinity."""
        if names := self.non_finite():
            raise InputError(f"network: {names[0]} {DAMAGED}")

    def to(self, device: str = "auto", dtype: Any = "float32") -> Self:
        """Move parameters and buffers to a device and a dtype, which are those of :func:`csc_cogd.backend.get_backend`.

        Buffers of integers, which are indices, stay as they are. Gradients are forgotten.
        """
        backend = get_backend(device, dtype=dtype)
        for owner, name, _ in self._places():
            array = to_numpy(_array(owner, name))
            if array.dtype.kind == "f":
                _put(owner, name, as_channels_last(backend.asarray(array)))
        self.zero_grad()
        return self

    def _places(self) -> Iterator[tuple[Module, str, str]]:
        """The module, attribute, and name of every parameter and buffer."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or name in module.buffer_names:
                    yield module, name, f"{prefix}.{name}" if prefix else name


class Sequential(Module):
    """Modules one after the other, named ``"0"``, ``"1"``, ...

    Parameters
    ----------
    *modules : Module

    Examples
    --------
    >>> from csc_cogd.nn.layers import Identity
    >>> [name for name, _ in Sequential(Identity(), Identity()).named_modules()]
    ['', '0', '1']
    """

    def __init__(self, *modules: Module):
        for number, module in enumerate(modules):
            setattr(self, str(number), module)

    def __iter__(self) -> Iterator[Module]:
        return (value for value in vars(self).values() if isinstance(value, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def forward(self, x: Tensor) -> Tensor:
        for module in self:
            x = module(x)
        return x


def _array(owner: Module, name: str) -> Any:
    value = getattr(owner, name)
    return value.array if isinstance(value, Parameter) else value


def _put(owner: Module, name: str, array: Any) -> None:
    value = getattr(owner, name)
    if isinstance(value, Parameter):
        value.array = array
    else:
        setattr(owner, name, array)


def _some(keys: list[str]) -> str:
    """Three keys at most, and how many more there are, with the verb that follows."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more} {'is' if len(keys) == 1 else 'are'}"
