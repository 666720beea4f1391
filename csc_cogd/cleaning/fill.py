"""Filling what is missing of large scans, in bands: memory doesn't grow with the scan."""

from __future__ import annotations

import numpy as np

from csc_cogd.engine import Engine
from csc_cogd.restore.inpaint import inpainting
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.report import Reporter, RestorationReport
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Solve, Tiling

MOST_PIXELS = 8_000_000
"""Pixels of a scan that is filled as a whole, and of a band."""
HALO = 192
"""Rows around a band that are looked at with it: more than what holes are filled from."""


def fill(
    planes: np.ndarray,
    missing: np.ndarray,
    solve: Solve,
    tiling: Tiling,
    engine: Engine,
    reporter: Reporter,
    *,
    most_pixels: int = MOST_PIXELS,
) -> tuple[np.ndarray, RestorationReport]:
    """Fill what is missing as by :func:`csc_cogd.inpaint`; of larger scans, each band by itself.

    Noise, and how much similar patches count, are then told by each band.

    Parameters
    ----------
    planes : (C, H, W) array
    missing : (H, W) bool array
    solve, tiling, engine, reporter : records
    most_pixels : int
        Of a band.

    Returns
    -------
    (C, H, W) array of the same type, RestorationReport
        What isn't missing is as it was, but for NaN, which may be filled, too.
    """
    height, width = missing.shape
    rows = max(most_pixels // width, HALO)
    if height <= rows:
        return _filled(planes, missing, solve, tiling, engine, reporter)
    result, reports = planes.copy(), []
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        if not missing[band].any():
            continue
        window = slice(max(top - HALO, 0), min(band.stop + HALO, height))
        part, report = _filled(planes[:, window], missing[window], solve, tiling, engine, reporter)
        result[:, band] = part[:, band.start - window.start : band.stop - window.start]
        reports.append(report)
    return result, RestorationReport(
        float(missing.mean()),
        [group for report in reports for group in report.groups],
        noise_sigmas=reports[0].noise_sigmas,
        n_values=planes.size,
        warnings=list({str(warning): warning for report in reports for warning in report.warnings}.values()),
    )


def _filled(
    planes: np.ndarray, missing: np.ndarray, solve: Solve, tiling: Tiling, engine: Engine, reporter: Reporter
) -> tuple[np.ndarray, RestorationReport]:
    observation = Observation.of(planes, np.broadcast_to(missing, planes.shape), channel_axis=0, complete=True)
    return restore(inpainting(observation), solve, tiling, engine.without_measuring(), reporter=reporter)
