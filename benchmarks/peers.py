"""What other libraries make of a damaged picture: the peers of ``restoration.py``.

Each takes a :class:`Damaged` and returns an estimate, or several of them at different settings, of which the caller takes
the one nearest to the truth: an advantage to the peer. Settings that don't depend on the picture were chosen by mean PSNR
on pieces of 96 to 256 pixels of some of the pictures that ``restoration.py`` takes by default; comments say among which.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Damaged(NamedTuple):
    """A damaged picture, (H, W) or (H, W, 3), and what every method is told of the damage.

    Attributes
    ----------
    pixels : array
        uint8; for Gaussian noise float64 on the scale of 0 to 255, neither rounded nor clipped.
    mask : bool array of the picture's shape, or None
        True where a value is missing: zero in `pixels`.
    sigma : float
        Standard deviation of Gaussian noise.
    """

    pixels: np.ndarray
    mask: np.ndarray | None = None
    sigma: float = 0.0

    @property
    def axis(self) -> int | None:
        return -1 if self.pixels.ndim == 3 else None

    @property
    def common_mask(self) -> np.ndarray | None:
        """(H, W), where all channels miss the same pixels; else None."""
        assert self.mask is not None
        if self.mask.ndim == 2:
            return self.mask
        return self.mask[..., 0] if (self.mask == self.mask[..., :1]).all() else None


Estimates = np.ndarray | list[np.ndarray]
Method = Callable[[Damaged], Estimates]


def _by_channel(damaged: Damaged, restore: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """`restore(pixels, mask)` the whole picture where its channels miss the same pixels, else each channel by itself."""
    common = damaged.common_mask
    if common is not None:
        return restore(damaged.pixels, common.copy())  # biharmonic refuses read-only masks
    planes = [(damaged.pixels[..., c].copy(), damaged.mask[..., c].copy()) for c in range(damaged.pixels.shape[-1])]
    return np.stack([restore(*pair) for pair in planes], axis=-1)


# -- inpainting --------------------------------------------------------------------------------------------------------


def biharmonic(damaged: Damaged) -> np.ndarray:
    from skimage.restoration import inpaint_biharmonic

    def restore(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return inpaint_biharmonic(pixels / 255, mask, channel_axis=-1 if pixels.ndim == 3 else None) * 255

    return _by_channel(damaged, restore)


def thin_plate_spline(damaged: Damaged, neighbors: int = 40) -> np.ndarray:
    """SciPy's radial basis functions.

    Over all known pixels at once they'd be a dense system of 10^5 unknowns, 80 GB. From the 40 nearest ones the spline is
    within 0.02 dB of that from 80 on random pixels: what is further away is screened by what is near.
    """
    from scipy.interpolate import RBFInterpolator

    def restore(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        known, missing = np.argwhere(~mask).astype(float), np.argwhere(mask).astype(float)
        spline = RBFInterpolator(known, pixels[~mask].astype(float), neighbors=neighbors, kernel="thin_plate_spline")
        restored = pixels.astype(float)
        restored[mask] = spline(missing)
        return restored

    return _by_channel(damaged, restore)


def total_variation(damaged: Damaged, iterations: int = 1000, primal: float = 0.05) -> np.ndarray:
    """The picture of least isotropic total variation (of all channels together) that has the known values.

    scikit-image's `denoise_tv_chambolle` takes no mask, so this is Chambolle's and Pock's primal-dual method [2011], for
    ``min TV(u)`` with known values fixed. Nothing is left to tune, known values being free of noise; it starts from the
    nearest known pixels, and 1000 steps are enough for PSNR to stand still to 0.01 dB.
    """
    from scipy.ndimage import distance_transform_edt

    def nearest(plane: np.ndarray, gone: np.ndarray) -> np.ndarray:
        return plane[tuple(distance_transform_edt(gone, return_distances=False, return_indices=True))]

    planes, gone = (np.atleast_3d(a).transpose(2, 0, 1) for a in (damaged.pixels / np.float32(255), damaged.mask))
    u = np.stack([nearest(*pair) for pair in zip(planes, gone, strict=True)]).astype(np.float32)
    extrapolated, known, values = u.copy(), ~gone, planes[~gone]
    down, right = np.zeros((2, *u.shape), np.float32)
    dual = 1 / (8 * primal)  # 8: the gradient's squared norm
    for _ in range(iterations):
        down[:, :-1] += dual * np.diff(extrapolated, axis=1)
        right[:, :, :-1] += dual * np.diff(extrapolated, axis=2)
        length = np.sqrt((down**2 + right**2).sum(axis=0)).clip(1)
        down /= length
        right /= length
        divergence = down + right
        divergence[:, 1:] -= down[:, :-1]
        divergence[:, :, 1:] -= right[:, :, :-1]
        moved = u + primal * divergence
        moved[known] = values
        extrapolated, u = 2 * moved - u, moved
    return u.transpose(1, 2, 0).reshape(damaged.pixels.shape) * 255


def opencv_inpaint(method: str) -> Method:
    def restore(damaged: Damaged) -> np.ndarray:
        import cv2

        flag = getattr(cv2, f"INPAINT_{method}")
        return _by_channel(damaged, lambda pixels, mask: cv2.inpaint(pixels, mask.astype(np.uint8), 3, flag))

    return restore


def sporco_inpaint(damaged: Damaged) -> np.ndarray:
    """SPORCO's convolutional sparse code with a mask, by its examples, but for the low-pass, lambda and the gray dictionary.

    In the examples the low-pass is total variation with a mask, and lambda 0.02: on gray pictures 2 dB less than from the
    low-passed biharmonic estimate, SPORCO's `tikhonov_filter` of ours, with 0.005, which is also better than 0.001. Of the
    dictionaries tried that ship with it (36 and 72 filters of 12 x 12, these of three sizes) this is the best, by 0.3 dB;
    250 iterations add 0.04 dB.
    """
    from sporco import util
    from sporco.admm import cbpdn
    from sporco.signal import tikhonov_filter

    color, lmbda = damaged.axis is not None, 5e-3
    margins = ((SPORCO_PAD, SPORCO_PAD), (SPORCO_PAD, SPORCO_PAD), (0, 0))[: damaged.pixels.ndim]
    known = np.pad(~damaged.mask, margins).astype(np.float32)  # type: ignore[operator]
    pilot = np.where(damaged.mask, biharmonic(damaged), damaged.pixels).astype(np.float32) / 255
    smooth, detail = tikhonov_filter(np.pad(pilot, margins, "symmetric"), 5.0)
    D = util.convdicts()["RGB:8x8x3x64" if color else "G:8x8x16,12x12x32,16x16x48"].astype(np.float32)
    options = {
        "MaxMainIter": 100, "HighMemSolve": True, "RelStopTol": 3e-3, "AuxVarObj": False, "RelaxParam": 1.8,
        "rho": 50 * lmbda + 0.1, "AutoRho": {"Enabled": False},
    }  # fmt: skip
    solver = cbpdn.AddMaskSim(cbpdn.ConvBPDN, D, known * detail, known, lmbda, opt=cbpdn.ConvBPDN.Options(options))
    solver.solve()
    return _cropped(smooth + solver.reconstruct().squeeze()) * 255


SPORCO_PAD = 8


def _cropped(padded: np.ndarray) -> np.ndarray:
    return padded[SPORCO_PAD:-SPORCO_PAD, SPORCO_PAD:-SPORCO_PAD]


# -- Gaussian noise ----------------------------------------------------------------------------------------------------


def bm3d(damaged: Damaged) -> np.ndarray:
    """Of its authors; for noncommercial use only. In color the one for RGB, which matches by luminance."""
    import bm3d

    denoise = bm3d.bm3d if damaged.axis is None else bm3d.bm3d_rgb
    return denoise(damaged.pixels / 255, damaged.sigma / 255) * 255


def tv_chambolle(damaged: Damaged) -> np.ndarray:
    """Weights of 0.8, 0.9 and 1 sigma at sigma 15, 25 and 50, each the best of 0.7 to 1.1; `eps` so that it converges."""
    from skimage.restoration import denoise_tv_chambolle

    weight = np.interp(damaged.sigma, (15, 25, 50), (0.8, 0.9, 1.0)) * damaged.sigma / 255
    options = {"weight": weight, "eps": 1e-5, "max_num_iter": 1000, "channel_axis": damaged.axis}
    return denoise_tv_chambolle(damaged.pixels / 255, **options) * 255


def nl_means(damaged: Damaged) -> np.ndarray:
    """h = 0.7 sigma, the best of 0.6 to 0.8; `fast_mode`, which is better here than the slow one."""
    from skimage.restoration import denoise_nl_means

    sigma = damaged.sigma / 255
    return denoise_nl_means(damaged.pixels / 255, 5, 6, 0.7 * sigma, sigma=sigma, channel_axis=damaged.axis) * 255


def wavelets(damaged: Damaged) -> np.ndarray:
    """BayesShrink, at all sigmas better than VisuShrink, soft or hard; sym4, of db1, db2, sym4; mean over 16 shifts."""
    from skimage.restoration import cycle_spin, denoise_wavelet

    options = {
        "sigma": damaged.sigma / 255, "method": "BayesShrink", "wavelet": "sym4", "wavelet_levels": 4, "rescale_sigma": True,
    }  # fmt: skip
    if damaged.axis is not None:
        options |= {"convert2ycbcr": True, "channel_axis": -1}
    pixels = damaged.pixels / 255
    return cycle_spin(pixels, denoise_wavelet, 3, func_kw=options, num_workers=1, channel_axis=damaged.axis) * 255


def sporco_denoise(damaged: Damaged) -> np.ndarray:
    """SPORCO's examples `gwnden_gry.py` and `gwnden_clr.py`, tuned.

    Their settings are made for noise of 0.1. With l1 weights 1 / w^2 (gray) and 1 / w (color) of correlations w, lambda
    goes with the third and second power of the noise, mu with the first, and rho stays, for the same picture on another
    scale. Twice the examples' lambda is better (1 to 4 times were tried in gray), and a smoother low-pass with more noise.
    """
    from sporco import util
    from sporco.admm import cbpdn
    from sporco.signal import tikhonov_filter

    color, scale = damaged.axis is not None, damaged.sigma / 25.5
    margins = ((SPORCO_PAD, SPORCO_PAD), (SPORCO_PAD, SPORCO_PAD), (0, 0))[: damaged.pixels.ndim]
    smooth, detail = tikhonov_filter(
        np.pad(damaged.pixels / np.float32(255), margins, "symmetric"), 5 * max(scale, 1) ** 2, 16
    )
    D = util.convdicts()["G:8x8x128"].astype(np.float32)
    shape = detail.shape[:2]
    filters = np.fft.rfft2(D[:, :, None] if color else D, shape, axes=(0, 1))
    spectra = np.fft.rfft2(detail, axes=(0, 1))[..., None]
    W = abs(np.fft.irfft2(filters.conj() * spectra, shape, axes=(0, 1))).astype(np.float32)
    options = {
        "MaxMainIter": 250, "HighMemSolve": True, "RelStopTol": 3e-3, "AuxVarObj": False, "AutoRho": {"Enabled": False},
        "L1Weight": 1 / np.maximum(W if color else W**2, 1e-8), "rho": 15.0 if color else 19.2,
    }  # fmt: skip
    if color:
        weights = 3e-2 * scale**2, 0.27 * scale
        solver = cbpdn.ConvBPDNJoint(D, detail, *weights, cbpdn.ConvBPDNJoint.Options(options), dimK=0)
    else:
        solver = cbpdn.ConvBPDN(D, detail, 9.6e-2 * scale**3, cbpdn.ConvBPDN.Options(options), dimK=0)
    solver.solve()
    return _cropped(smooth + solver.reconstruct().squeeze()) * 255


# -- salt and pepper ---------------------------------------------------------------------------------------------------


def median(damaged: Damaged) -> list[np.ndarray]:
    """SciPy's; 3 x 3, 5 x 5 or 7 x 7, the best for the picture."""
    from scipy.ndimage import median_filter

    return [median_filter(damaged.pixels, (n, n, 1)[: damaged.pixels.ndim], mode="reflect") for n in (3, 5, 7)]


def opencv_median(damaged: Damaged) -> list[np.ndarray]:
    """3 x 3, 5 x 5 or 7 x 7, the best for the picture."""
    import cv2

    return [cv2.medianBlur(damaged.pixels, n) for n in (3, 5, 7)]


def detected_biharmonic(damaged: Damaged) -> np.ndarray:
    """Black and white values that are far from their neighbors' median, as missing to biharmonic.

    The median is that of the 5 x 5 values that are neither black nor white: what's black in a black part isn't spoilt.
    """
    extreme = (damaged.pixels == 0) | (damaged.pixels == 255)
    if not extreme.any():
        return damaged.pixels
    margins = ((2, 2), (2, 2), (0, 0))[: extreme.ndim]
    likely = np.pad(np.where(extreme, np.nan, damaged.pixels), margins, "symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(likely, (5, 5), axis=(0, 1))[extreme].reshape(-1, 25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of windows without any
        medians = np.nanmedian(windows, axis=1)
    spoilt = extreme.copy()
    spoilt[extreme] = ~(abs(damaged.pixels[extreme] - medians) < 10)
    return (
        biharmonic(Damaged(np.where(spoilt, 0, damaged.pixels).astype(np.uint8), spoilt)) if spoilt.any() else damaged.pixels
    )


INPAINT: dict[str, Method] = {
    "biharmonic": biharmonic,
    "thin plate spline": thin_plate_spline,
    "total variation": total_variation,
    "OpenCV Telea": opencv_inpaint("TELEA"),
    "OpenCV NS": opencv_inpaint("NS"),
    "SPORCO": sporco_inpaint,
}
DENOISE: dict[str, Method] = {
    "BM3D": bm3d,
    "TV": tv_chambolle,
    "NL means": nl_means,
    "wavelets": wavelets,
    "SPORCO": sporco_denoise,
}
IMPULSE: dict[str, Method] = {
    "median": median,
    "OpenCV median": opencv_median,
    "detected + biharmonic": detected_biharmonic,
}
