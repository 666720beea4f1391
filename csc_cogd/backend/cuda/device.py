"""Find a CUDA device, or explain why none can be used."""

from __future__ import annotations

from typing import Any

from csc_cogd.errors import DeviceError

LEAST_CUPY, LEAST_CAPABILITY = 14, 70
_INSTALL = "pip install 'csc-cogd[cuda13]', or [cuda12] for an older driver"


def open_device(name: str) -> int:
    """Make the device of that name, ``"cuda"`` or ``"cuda:N"``, this thread's current one; return its number.

    Raises
    ------
    DeviceError
        If CuPy, the driver or the device is missing or too old.
    """
    try:
        import cupy
    except ImportError as error:
        if error.name == "cupy":
            raise _unusable(name, "CuPy isn't installed", _INSTALL) from None
        raise _unusable(name, f"CuPy doesn't load ({error})", _INSTALL) from None
    if int(cupy.__version__.split(".")[0]) < LEAST_CUPY:
        raise _unusable(name, f"CuPy {cupy.__version__} is too old, {LEAST_CUPY} is needed", _INSTALL)
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise _unusable(name, *_why_none_answers(runtime, error)) from None
    number = int(name.partition(":")[2] or runtime.getDevice()) if count else 0
    if number >= count:
        there = "there is none" if count == 0 else f"the last one is cuda:{count - 1}"
        raise _unusable(name, f"no such device, {there}", "use another one")
    try:
        device = cupy.cuda.Device(number)
        if int(device.compute_capability) < LEAST_CAPABILITY:
            wrong = f"its compute capability is {device.compute_capability}, {LEAST_CAPABILITY} is needed"
            raise _unusable(name, wrong, "use another one")
        device.use()
    except runtime.CUDARuntimeError as error:
        raise _unusable(name, f"it doesn't answer ({error})", "use another one") from None
    _check_libraries(cupy, name)
    return number


def _unusable(name: str, why: str, fix: str) -> DeviceError:
    """Return the error to raise for the device of that name."""
    return DeviceError("", why, f"{fix}, or use {{device}} 'cpu'", f"device {name!r}")


def usable_devices() -> list[str]:
    """Return the names of the devices that are new enough, after :func:`open_device` has found one of them."""
    import cupy

    return [
        f"cuda:{number}"
        for number in range(cupy.cuda.runtime.getDeviceCount())
        if int(cupy.cuda.Device(number).compute_capability) >= LEAST_CAPABILITY
    ]


def _check_libraries(cupy: Any, name: str) -> None:
    """Raise DeviceError if CUDA's libraries are missing: CuPy starts without, and fails at their first use."""
    try:
        for library in ("cufft", "cublas", "cusolver", "nvrtc"):
            getattr(cupy.cuda, library)
        cupy.cuda.nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise _unusable(name, f"CUDA's libraries are missing ({reason})", _INSTALL) from None


def describe_device(number: int) -> str:
    """Return name and memory of a device, for people to read."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(number)
    name: Any = properties["name"]
    return f"{name.decode() if isinstance(name, bytes) else name}, {properties['totalGlobalMem'] / 1e9:.0f} GB"


def _why_none_answers(runtime: Any, error: Exception) -> tuple[str, str]:
    """Return why CUDA doesn't start, and how to fix it."""
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        return "there is no NVIDIA driver", "install it"
    if driver < needed:
        known, wanted = (f"{version // 1000}.{version % 1000 // 10}" for version in (driver, needed))
        return f"the NVIDIA driver is too old, for CUDA {known}, and CuPy's CUDA is {wanted}", "update it"
    return f"CUDA failed to start ({error})", "reinstall the NVIDIA driver"
