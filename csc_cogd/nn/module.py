"""Modules: layers and networks, which hold parameters and compute with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from csc_cogd.backend import array_module, as_channels_last, filled_like, get_backend, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.tensor import Tensor


def not_finite(argument: str, where: str) -> InputError:
    """Return the error for weights that hold NaN or infinity."""
    fix = "use others, as these weights are damaged or their training diverged"
    return InputError(argument, f"must be finite, but {where} holds NaN or infinity", fix)


class Parameter(Tensor):
    """A tensor that is trained.

    Parameters
    ----------
    array : float32 or float64 array of NumPy or CuPy
        Of any shape; kept, not copied.

    Examples
    --------
    >>> Parameter(np.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, array: Any):
        super().__init__(array, requires_grad=True)


class Module(ABC):
    """A part of a network, whose attributes are parameters, buffers (arrays that are kept but not trained) and modules.

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
    has_blocks = True
    """Whether the names of modules tell which ones make up a block; not in networks of other programs."""
    frozen = False
    """Whether it stays in inference, see :func:`csc_cogd.nn.freeze`."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return what is computed from `x`."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module, whose name is `prefix`, and those inside, each with its name, in the order of creation."""
        yield prefix, self
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield from value.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters, each with its name."""
        for owner, name, key in self.places():
            if isinstance(value := getattr(owner, name), Parameter):
                yield key, value

    def parameters(self) -> list[Parameter]:
        """Return all parameters."""
        return [parameter for _, parameter in self.named_parameters()]

    def array_kind(self) -> tuple[Any, str]:
        """Return the module, NumPy or CuPy, and the dtype of the parameters; InputError if there are none."""
        parameter = next(iter(self.parameters()), None)
        if parameter is None:
            raise InputError("network", "must have parameters")
        return array_module(parameter.array), parameter.dtype.name

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, training: bool = True) -> Self:
        """Switch this module, and those inside, to training, or to inference; those that are frozen stay in inference."""
        for _, module in self.named_modules():
            module.training = training and not module.frozen
        return self

    def eval(self) -> Self:
        """Switch this module, and those inside, to inference."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to inference within a ``with`` statement, and each module back afterwards."""
        before = [(module, module.training) for _, module in self.named_modules()]
        self.eval()
        try:
            yield
        finally:
            for module, training in before:
                module.training = training

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers in main memory, by their names."""
        return {key: np.array(to_numpy(owner.get_array(name))) for owner, name, key in self.places()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set parameters and buffers; they keep the dtype and the device of this module.

        Parameters
        ----------
        state : mapping of str to array
            As :meth:`state_dict` returns it. PyTorch's ``num_batches_tracked`` are ignored, as nothing depends on them
            where the momentum is fixed.

        Raises
        ------
        InputError
            If one is missing, unknown, of another shape, or not of finite real numbers; then nothing is changed.
        """
        places = {key: (owner, name) for owner, name, key in self.places()}
        given = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        if missing := [key for key in places if key not in given]:
            raise InputError("state", f"lacks {_some(missing)}", "use complete weights of this network")
        if unknown := [key for key in given if key not in places]:
            raise InputError("state", f"holds {_some(unknown)}, which this network hasn't", "use weights of this network")
        arrays = {key: to_numpy(value) for key, value in given.items()}
        for key, (owner, name) in places.items():
            wanted = owner.get_array(name)
            if arrays[key].shape != wanted.shape:
                raise InputError("state", f"must hold {key} of shape {wanted.shape}, got {arrays[key].shape}")
            if arrays[key].dtype.kind not in "fiu":
                raise InputError("state", f"must hold real numbers, but {key} is {arrays[key].dtype}")
            with np.errstate(over="ignore", invalid="ignore"):
                converted = arrays[key].astype(wanted.dtype)
            if not (np.isfinite(arrays[key]).all() and np.isfinite(converted).all()):
                raise not_finite("state", key)
        for key, (owner, name) in places.items():
            owner.set_array(name, filled_like(owner.get_array(name), arrays[key]))

    def non_finite(self) -> list[str]:
        """Return the names of the parameters and buffers that hold NaN or infinity."""
        arrays = ((key, owner.get_array(name)) for owner, name, key in self.places())
        return [key for key, array in arrays if not array_module(array).isfinite(array).all()]

    def check_finite(self) -> None:
        """Raise InputError if a parameter or a buffer holds NaN or infinity."""
        if names := self.non_finite():
            raise not_finite("network", names[0])

    def to(self, device: str = "auto", dtype: Any = "float32") -> Self:
        """Move parameters and buffers to a device, and convert them to a dtype.

        Buffers of integers, which are indices, stay as they are. Gradients are forgotten.

        Parameters
        ----------
        device : {"auto", "cpu", "cuda", "cuda:N"}
        dtype : {"float32", "float64"}

        Returns
        -------
        Module
            This one.
        """
        backend = get_backend(device, dtype=dtype)
        for owner, name, _ in self.places():
            array = to_numpy(owner.get_array(name))
            if array.dtype.kind == "f":
                owner.set_array(name, as_channels_last(backend.asarray(array)))
        self.zero_grad()
        return self

    def get_array(self, name: str) -> Any:
        """Return the array of a parameter or buffer of this module itself."""
        value = getattr(self, name)
        return value.array if isinstance(value, Parameter) else value

    def set_array(self, name: str, array: Any) -> None:
        """Replace the array of a parameter or buffer of this module itself."""
        value = getattr(self, name)
        if isinstance(value, Parameter):
            value.array = array
        else:
            setattr(self, name, array)

    def places(self) -> Iterator[tuple[Module, str, str]]:
        """Yield the module, attribute, and name of every parameter and buffer."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) or name in module.buffer_names:
                    yield module, name, f"{prefix}.{name}" if prefix else name


class Sequential(Module):
    """Modules one after the other, named ``"0"``, ``"1"``, ...

    Parameters
    ----------
    *modules : Module
        In the order of computation.

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


def _some(keys: list[str]) -> str:
    """Return three keys at most, and how many more there are."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
