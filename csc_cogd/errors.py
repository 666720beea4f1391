"""The errors this package raises on purpose: one family, so that callers can catch them all."""


class CscCogdError(Exception):
    """Base of every error that csc-cogd raises on purpose.

    Examples
    --------
    >>> import csc_cogd
    >>> try:
    ...     csc_cogd.Dictionary([1, 2])
    ... except csc_cogd.CscCogdError as error:
    ...     print(error)
    filters: shape (2,) is neither (K, h, w) nor (K, C, h, w)
    """


class InputError(CscCogdError, ValueError):
    """An argument or a file can't be used; the message says which, why, and how to fix it."""


class DeviceError(CscCogdError, RuntimeError):
    """The requested device can't be used; nothing falls back silently to another one."""


def library_failure(error: BaseException) -> str:
    """What to say of an error with which a library can't be loaded; the first sentence of its own is enough."""
    why = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return f"a library can't be loaded: {why}: give the process more memory, or install csc-cogd anew"
