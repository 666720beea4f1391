"""Finding a CUDA device, and saying plainly why there is none."""

from __future__ import annotations

from typing import Any

from csc_cogd.errors import DeviceError

LEAST_CUPY, LEAST_CAPABILITY = 14, 70
_INSTALL = "pip install 'csc-cogd[cuda13]', or [cuda12] for an older driver"


def open_device(name: str) -> int:
    """Make the device of that name, ``"cuda"`` or ``"cuda:N"``, this thread's current one; returns its number.

    Raises
    ------
    DeviceError
        If CuPy, the driver or the device is missing or too old.
    """
    try:
        import cupy
    except ImportError as error:
        if error.name == "cupy":
            raise DeviceError(f"device {name!r}: CuPy isn't installed: {_INSTALL}, or use 'cpu'") from None
        raise DeviceError(f"device {name!r}: CuPy doesn't load ({error}): {_INSTALL}, or use 'cpu'") from None
    if int(cupy.__version__.split(".")[0]) < LEAST_CUPY:
        raise DeviceError(f"device {name!r}: CuPy {cupy.__version__} is too old, {LEAST_CUPY} is needed: {_INSTALL}")
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise DeviceError(f"device {name!r}: {_why_none_answers(runtime, error)}, or use 'cpu'") from None
    number = int(name.partition(":")[2] or runtime.getDevice()) if count else 0
    if number >= count:
        there = "there is none" if count == 0 else f"the last one is cuda:{count - 1}"
        raise DeviceError(f"device {name!r}: no such device, {there}: name another, or use 'cpu'")
    try:
        device = cupy.cuda.Device(number)
        if int(device.compute_capability) < LEAST_CAPABILITY:
            raise DeviceError(
                f"device {name!r}: its compute capability is {device.compute_capability}, {LEAST_CAPABILITY} is needed: "
                "use another one, or 'cpu'"
            )  # fmt: skip
        device.use()
    except runtime.CUDARuntimeError as error:
        raise DeviceError(f"device {name!r}: it doesn't answer ({error}): use another one, or 'cpu'") from None
    _check_libraries(cupy, name)
    return number


def usable_devices() -> list[str]:
    """Names of the devices that are new enough, after :func:`open_device` has found one of them."""
    import cupy

    return [
        f"cuda:{number}"
        for number in range(cupy.cuda.runtime.getDeviceCount())
        if int(cupy.cuda.Device(number).compute_capability) >= LEAST_CAPABILITY
    ]


def _check_libraries(cupy: Any, name: str) -> None:
    """CuPy alone starts without CUDA's libraries, and fails at their first use."""
    try:
        for library in ("cufft", "cublas", "cusolver", "nvrtc"):
            getattr(cupy.cuda, library)
        cupy.cuda.nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DeviceError(
            f"device {name!r}: CUDA's libraries are missing ({reason}): {_INSTALL}, or use 'cpu'"
        ) from None  # fmt: skip


def describe_device(number: int) -> str:
    """Name and memory of a device, for a person to read."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(number)
    name: Any = properties["name"]
    return f"{name.decode() if isinstance(name, bytes) else name}, {properties['totalGlobalMem'] / 1e9:.0f} GB"


def _why_none_answers(runtime: Any, error: Exception) -> str:
    """What keeps CUDA from starting, and what to do about it."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return "there is no NVIDIA driver: install it"
    if driver < needed:
        known, wanted = (f"{version // 1000}.{version % 1000 // 10}" for version in (driver, needed))
        return f"the NVIDIA driver is too old, for CUDA {known}, and CuPy's CUDA is {wanted}: update it"
    return f"CUDA doesn't start ({error}): mend the driver"
