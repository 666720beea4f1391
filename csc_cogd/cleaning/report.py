"""What cleaning a scan found and did."""

from __future__ import annotations

from dataclasses import dataclass, field

from csc_cogd.detect.detection import DustDetection
from csc_cogd.errors import Remark
from csc_cogd.restore.report import RestorationReport


@dataclass(frozen=True, eq=False)
class CleaningReport:
    """What cleaning a scan found and did.

    Attributes
    ----------
    detection : DustDetection
    divided : float
        Share of the picture that was restored from the light that came through the dust.
    copied : float
        Share of the picture that was taken from the frame of a film beside it.
    grain : float, optional
        Standard deviation in gray levels of the picture's grain, which fills were given; None where they weren't.
    restoration : RestorationReport, optional
        Of what was filled; None where nothing was.
    warnings : list of Remark
        What the caller should know.
    """

    detection: DustDetection
    divided: float = 0.0
    copied: float = 0.0
    grain: float | None = None
    restoration: RestorationReport | None = None
    warnings: list[Remark] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([f"CleaningReport: {self.summary()}", *self.lines()])

    def summary(self) -> str:
        """Say what was found, and what was done to it."""
        found = self.detection.summary()
        by = " by infrared" if self.detection.transmission is not None else ""
        parts = [f"{found}{by}"]
        if self.divided:
            parts.append(f"{self.divided / self.detection.mask.mean():.0%} of it restored from the light that came through")
        if self.copied:
            parts.append("taken from the frame beside it")
        if self.grain is not None:
            parts.append(f"grain of {self.grain:.2g} gray levels put back")
        return "; ".join(parts)

    def lines(self) -> list[str]:
        """Say how it was filled."""
        return [] if self.restoration is None else self.restoration.lines()
