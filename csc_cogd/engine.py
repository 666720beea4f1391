"""Where, how precisely and with how many threads everything is computed: one record, made at the door and passed on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from csc_cogd.backend import Backend, device_of, get_backend
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


@dataclass(frozen=True)
class Engine:
    """Where and how to compute; see :func:`csc_cogd.backend.get_backend` for the values.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        Precision of the computation.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    threads : int, optional
        Of the CPU; default: the processors that this process may use.
    fft : str, optional
        "auto", the default, "estimated", "pyfftw" or "scipy".

    Examples
    --------
    >>> Engine(dtype="float64", device="cpu", threads=1).backend.dtype
    dtype('float64')
    """

    dtype: Any = "float32"
    device: str = "auto"
    threads: int | None = None
    fft: str | None = None

    def __post_init__(self) -> None:
        take_numbers(self)

    @property
    def backend(self) -> Backend:
        """The backend for these settings, which is reused.

        Raises
        ------
        InputError, DeviceError
            If a setting is none, or the device can't be used.
        """
        return get_backend(self.device, dtype=self.dtype, threads=self.threads, fft=self.fft)

    def beside(self, images: Any, argument: str = "images") -> Engine:
        """Return the engine on the GPU that holds an array, or a sequence's first; itself where none does."""
        first = images[0] if isinstance(images, (list, tuple)) and images else images
        return replace(self, device=device_of(first, self.device, argument))

    def without_measuring(self) -> Engine:
        """Return the engine with FFT plans that aren't measured, for few transforms of any one size."""
        return replace(self, fft="estimated") if self.fft in (None, "auto") else self

    def single_threaded(self) -> Engine:
        """Return the engine for one of several threads that each compute; a GPU's is one already."""
        return replace(self, threads=1) if self.backend.xp is np else self


def as_number(value: Any) -> Any:
    """Return the number in an array without axes, such as ``xarray.DataArray.std()`` gives; anything else as it is."""
    return value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value


def take_numbers(record: object) -> None:
    """Replace arrays without axes among the fields of a frozen record by the numbers in them."""
    for name, value in vars(record).items():
        object.__setattr__(record, name, as_number(value))


def record_of(made: Record, given: Record | None) -> Record:
    """Return the record that is given, or the one that was made of fields that were given one by one.

    Raises
    ------
    InputError
        If a record is given, and a field beside it.
    """
    for field in fields(made) if given is not None else ():
        if getattr(made, field.name) != field.default:
            raise InputError(field.name, f"was given twice, by itself and in the {type(made).__name__}", "choose one")
    return made if given is None else given


def take_fields(record: Record, arguments: dict[str, Any], prefix: str = "") -> Record:
    """Return a record with those of its fields, named with a prefix, that are among arguments, which are taken out there."""
    names = {field.name: prefix + field.name for field in fields(record)}
    return replace(record, **{field: arguments.pop(name) for field, name in names.items() if name in arguments})
