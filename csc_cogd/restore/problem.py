"""The problem that every task of restoring an image is put as."""

from __future__ import annotations

from dataclasses import dataclass

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import Remark
from csc_cogd.restore.camera_noise import Correlated
from csc_cogd.restore.noise import Gaussian, Noise
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.operators import Identity, Operator
from csc_cogd.unrolled.prior import Prior

IDENTITY, NO_NOISE = Identity(), Gaussian(None)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be restored from what.

    Attributes
    ----------
    observation : Observation
    operator : Operator
        What the image shows of the scene.
    noise : Noise
    dictionary : Dictionary, optional
        Default: the ones that ship, for gray or for color.
    keep_known : bool
        Keep known values as they are.
    remarks : tuple of Remark
        For the report's warnings.
    correlated : Correlated, optional
        Noise that isn't white, instead of `noise`.
    prior : Prior, optional
        Prior that removes noise from complete images, in place of a code; default: none.
    color_prior : Prior, optional
        Prior that does so for three channels together.
    fill_prior : Prior, "default" or "none"
        Prior that fills what is missing, in place of a code: one that is given, whatever the damage; or the one that ships,
        where that suits the damage.
    prior_above : float
        Standard deviation of the noise on the scale of [0, 1], above which `prior` is used.
    """

    observation: Observation
    operator: Operator = IDENTITY
    noise: Noise = NO_NOISE
    dictionary: Dictionary | None = None
    keep_known: bool = False
    remarks: tuple[Remark, ...] = ()
    correlated: Correlated | None = None
    prior: Prior | None = None
    color_prior: Prior | None = None
    fill_prior: Prior | str = "none"
    prior_above: float = 0.0
