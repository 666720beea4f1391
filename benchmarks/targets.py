"""What this project set out to reach, and the benchmarks that show how far it came: read by `results.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

Figures = Callable[[str], list[float]]
"""From what a benchmark printed to the figures that a target is about."""


class Table(NamedTuple):
    """A Markdown table that a benchmark printed."""

    title: str
    """The last heading above it."""
    rows: list[dict[str, str]]
    """Its cells by the names of their columns."""


@dataclass(frozen=True)
class Target:
    """What was asked: every figure between `least` and `most`."""

    what: str
    figures: Figures
    least: float = -inf
    most: float = inf

    @property
    def asked(self) -> str:
        bounds = ((self.least, "at least"), (self.most, "at most"))
        return ", ".join(f"{word} {bound:g}" for bound, word in bounds if abs(bound) < inf)

    def met(self, printed: str) -> bool:
        figures = self.figures(printed)
        return bool(figures) and all(self.least <= figure <= self.most for figure in figures)


@dataclass(frozen=True)
class Benchmark:
    """A command, and the targets that it answers."""

    command: str
    targets: tuple[Target, ...] = ()
    alone: bool = False
    """Whether it measures time, so that nothing may run beside it."""
    needs: tuple[str, ...] = ()
    """Of "torch", "data" (`CSC_COGD_DATA`), "gpu"."""


def tables(printed: str) -> Iterator[Table]:
    title, header, rows = "", [], []
    for line in [*printed.splitlines(), ""]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            if rows:
                yield Table(title, rows)
            header, rows = [], []
            title = line.strip("# ") if line.startswith("#") else title
        elif not header:
            header = cells
        elif set("".join(cells)) - set("-: "):
            rows.append(dict(zip(header, cells, strict=True)))


def cells(column: str, nth: int = 0, title: str = "", **where: str) -> Figures:
    """The nth number in a column, of each row whose cells match, in tables whose title matches; patterns all.

    A column is named by its first words; spaces in the names of those that choose rows are written as underscores.
    """

    def figures(printed: str) -> list[float]:
        found = []
        for table in tables(printed):
            for row in table.rows if re.search(title, table.title) else ():
                chosen = [(pattern, _cell(row, name.replace("_", " "))) for name, pattern in where.items()]
                text = _cell(row, column)
                if text is not None and all(cell is not None and re.fullmatch(p, cell) for p, cell in chosen):
                    found += _numbers(text)[nth : nth + 1]
        return found

    return figures


def said(pattern: str) -> Figures:
    """The number that a pattern's group captures, wherever it is printed."""
    return lambda printed: [float(number) for number in re.findall(pattern, printed)]


def differences(of: Figures, less: Figures) -> Figures:
    return lambda printed: [a - b for a, b in zip(of(printed), less(printed), strict=True)]


def ratios(of: Figures, by: Figures) -> Figures:
    return lambda printed: [a / b for a, b in zip(of(printed), by(printed), strict=True)]


def _cell(row: dict[str, str], name: str) -> str | None:
    return next((cell for column, cell in row.items() if column.startswith(name)), None)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text.replace(",", ", "))]


def _restored(kind: str, mean: float) -> tuple[Target, Target, Target]:
    """Of inpainting: the mean gain over biharmonic interpolation, the worst one, and that over the best peer."""
    gain, peer = f"gain of csc-cogd over biharmonic, {kind}", f"gain over each picture's best peer, {kind}"
    return (
        Target(f"{gain}: mean, dB", cells("gain of", title=kind, method="biharmonic"), least=mean),
        Target(f"{gain}: worst, dB", cells("gain of", 1, title=kind, method="biharmonic"), least=-0.05),
        Target(f"{peer}: worst, dB", cells("gain over the best", 1, title=kind, method="csc-cogd"), least=-0.05),
    )


def _protocol(task: str, pictures: str, objective: float, published: float) -> tuple[Target, Target]:
    """Of the paper's protocol: the published code's best objective, and the published PSNR of CoGD."""
    title, ours = f"{task}, {pictures}", "ours, rule off"
    return (
        Target(f"objective, {title.lower()}, rule off", cells("objective", title=title, method=ours), most=objective),
        Target(f"PSNR, {title.lower()}, debiased", cells("PSNR debiased", title=title, method=ours), least=published),
    )


def _denoised(title: str, asked: tuple[float, float, float]) -> tuple[Target, ...]:
    """Of denoising at three levels, the PSNR with patches."""
    return tuple(
        Target(
            f"{title}, sigma {sigma}, dB", cells("sigma", number, title=f"^{title}", method="prior and patches"), least=least
        )
        for number, (sigma, least) in enumerate(zip((15, 25, 50), asked, strict=True))
    )


SMALL, LARGE = "100 of.*", "64 of.*"  # of the two problems of the code solve

BENCHMARKS = {
    "startup": Benchmark(
        "startup.py", (Target("`csc-cogd --help`, s", cells("seconds", command="csc-cogd --help"), most=0.3),), alone=True
    ),
    "code solve, an iteration": Benchmark(
        "code_solve.py",
        (
            Target("SPORCO / ours, 256 x 256", cells("SPORCO / ours", filters=SMALL), least=5),
            Target("SPORCO / ours, 512 x 512", cells("SPORCO / ours", filters=LARGE), least=8),
            Target("ours / FFT floor", cells("ours / floor"), most=1.4),
            Target("gain by the second thread", cells("gain by threads", threads="2"), least=1.8),
            Target("peak memory, arrays of the codes' size: ADMM", cells("peak memory of ADMM"), most=5),
            Target("peak memory: coordinate descent", cells("of coordinate descent"), most=5),
        ),
        alone=True,
    ),
    "code solve, to 0.1 % of the optimum": Benchmark(
        "convergence.py --patience 11 --peers 'SPORCO ADMM'",
        (Target("best of SPORCO's solvers / ours", cells("best SPORCO / ours"), least=10),),
    ),
    "learning": Benchmark(
        "learning.py", (Target("SPORCO / ours, time to SPORCO's objective", cells("ratio"), least=10),), alone=True
    ),
    "learning online, memory": Benchmark(
        "learning.py --memory", (Target("peak memory, GB", said(r"peak memory: ([\d.]+) GB"), most=4),)
    ),
    "growth": Benchmark(
        "growth.py --limit 1.2e9",
        (
            Target("exponent of time", cells("exponents"), most=1.1),
            Target("exponent of memory", cells("exponents", 1), most=1.1),
        ),
        alone=True,
    ),
    "24 megapixels": Benchmark(
        "large.py",
        (
            Target("peak memory, GB", cells("peak GB"), most=2),
            Target(
                "seconds at half of the damage / at all of it",
                ratios(cells("seconds", damage="1.*"), cells("seconds", picture="6000.*", damage="2.*")), most=0.65,
            ),
        ),
        alone=True,
    ),
    "memory as predicted": Benchmark(
        "memory.py", (Target("predicted / measured", cells("predicted / measured"), least=1),)
    ),
    "many files": Benchmark(
        "batch.py --count 400",
        (Target("throughput of two processes / of one", cells("ratio", processes="2"), least=1.8),),
        alone=True,
    ),
    "killed and resumed": Benchmark("killing.py --count 60 --kills 6"),
    "damaged and hostile files": Benchmark(
        "fuzz.py",
        tuple(
            Target(f"files with a fault: {fault}", cells(fault), most=0)
            for fault in ("traceback", "signal", "hang", "memory", "printed")
        ),
    ),
    "inpainting, gray": Benchmark(
        "restoration.py --size 192 --methods csc-cogd,biharmonic,'thin plate spline','total variation','OpenCV NS'",
        (
            *_restored("25 % random", 2), *_restored("50 % random", 2.5), *_restored("75 % random", 2),
            *_restored("90 % random", 1),
            Target(
                "gain over each picture's best peer, scratches and text: mean, dB",
                cells("gain over the best", title="scratches", method="csc-cogd"), least=1.8,
            ),
        ),
    ),
    "inpainting, color": Benchmark(
        "restoration.py --color --size 192 --damages '50 % random,50 % random per channel'",
        (
            Target("gain over biharmonic at 50 %: mean, dB", cells("gain of", method="biharmonic"), least=3),
        ),
    ),
    "inpainting, --best": Benchmark(
        "restoration.py --size 192 --damages '50 % random' --methods 'csc-cogd --best,biharmonic'",
        (Target("gain of --best over biharmonic at 50 %: mean, dB", cells("gain of", method="biharmonic"), least=3),),
    ),
    "inpainting, time": Benchmark(
        "restoration.py --size 512 --damages '50 % random' --methods 'csc-cogd,csc-cogd --fast,biharmonic'",
        (
            Target("512 x 512 in gray, s", cells("seconds", method="csc-cogd"), most=20),
            Target("--fast, s", cells("seconds", method="csc-cogd --fast"), most=4),
            Target("what --fast loses, dB", cells("gain of", method="csc-cogd --fast"), most=0.5),
        ),
        alone=True,
    ),
    "denoising": Benchmark(
        "restoration.py --task denoise --size 128 --pictures camera,kodim23,barbara,monarch,tulips "
        "--methods csc-cogd,BM3D,TV,'NL means',wavelets",
        (Target("against BM3D: mean, dB", cells("gain of", method="BM3D"), least=-0.3),),
    ),
    "impulse noise": Benchmark(
        "restoration.py --task impulse --size 160 --pictures camera,barbara,kodim23",
        (Target("against detected + biharmonic: mean, dB", cells("gain of", method="detected.*"), least=0),),
    ),
    "ablation": Benchmark("ablation.py --size 128 --rows 'biharmonic refined,half the passes'"),
    "ablation, noise": Benchmark("ablation.py --task denoise --size 96 --rows 'noisy refined'"),
    "deblurring and upscaling": Benchmark("deblurring.py"),
    "deblurring, shaken cameras": Benchmark("deblurring.py --shakes --count 3", needs=("data",)),
    "detection": Benchmark("detection.py"),
    "impulses": Benchmark("impulses.py"),
    "main job": Benchmark(
        "main_job.py --count 40",
        (
            Target("24 MP, 2.2 % scratched: s, two processors", cells("CPU seconds before", case="scratched.*%.*"), most=75),
            Target("24 MP, 2.2 % scratched: GB", cells("CPU seconds before", 1, case="scratched.*%.*"), most=1.5),
            Target("24 MP, 0.3 % dust: s, two processors", cells("CPU seconds before", case="dust.*%.*"), most=20),
            Target("photographs a second, two processes / one", said(r"([\d.]+) times as many with two"), least=1.8),
            Target("growth over pixels: exponent", said(r"to 8 megapixels.*exponent ([-\d.]+)"), most=0.1),
            Target("growth over damage: exponent", said(r"to 600 specks.*exponent ([-\d.]+)"), most=1.05),
        ),
        alone=True,
    ),
    "holes in photographs": Benchmark(
        "real_fill.py --small",
        (
            Target("over biharmonic: mean, dB", said(r"(?m)^biharmonic +[\d.]+ +([-+][\d.]+)"), least=1.5),
            Target("over OpenCV NS: mean, dB", said(r"(?m)^NS +[\d.]+ +([-+][\d.]+)"), least=1),
            Target("0.5 dB below the best of three, %", said(r"(?m)^csc-cogd .*? ([\d.]+)% "), most=15),
            Target("3 dB below it, %", said(r"(?m)^csc-cogd .*?%.*? ([\d.]+)%"), most=1),
        ),
        needs=("data",),
    ),
    "large holes": Benchmark(
        "real_fill.py --large --count 24",
        (Target("over OpenCV NS: worst, dB", said(r"worst ([-+][\d.]+)"), least=-3),),
        needs=("data",),
    ),
    "marks on old photographs": Benchmark(
        "real_masks.py",
        (Target("over the best peer, generous marks, dB", cells("gain", marks="generous.*"), least=2),),
        needs=("data",),
    ),
    "noise of photographs": Benchmark(
        "real_noise.py --table real",
        (
            Target("gain, mean, dB", said(r"csc-cogd +mean ([-+][\d.]+)"), least=2.6),
            Target("gain, least, dB", said(r"csc-cogd +mean.*least ([-+][\d.]+)"), least=-0.1),
        ),
        needs=("data",),
    ),
    "noise made like that of photographs": Benchmark("real_noise.py --table made", needs=("data",)),
    "clean photographs": Benchmark(
        "real_noise.py --table clean",
        (Target("changed by, most, gray levels", said(r"largest ([\d.]+)"), most=0.3),),
        needs=("data",),
    ),
    "upscaling photographs": Benchmark(
        "real_upscaling.py --count 8 --only 2",
        (
            Target("PNG, told nothing: over Lanczos, dB", cells("csc-cogd", 1, CBSD68=".*PNG"), least=1),
            Target("JPEG, told nothing: over Lanczos, dB", cells("csc-cogd", 1, CBSD68=".*JPEG.*"), least=0.4),
        ),
        needs=("data",),
    ),
    "prior, gray": Benchmark(
        "prior.py gray --count 10 --methods 'prior alone' 'prior and patches'", _denoised("BSD68", (31.5, 29.0, 26.1)) +
        _denoised("Set12", (32.7, 30.3, 27.1)), needs=("data",),
    ),
    "prior, color": Benchmark(
        "prior.py color --count 10 --methods 'prior alone' 'prior and patches'", _denoised("CBSD68", (33.7, 31.0, 27.7)),
        needs=("data",),
    ),
    "prior that fills": Benchmark("prior.py fill --count 4", needs=("data",)),
    "prior, time": Benchmark(
        "prior.py time",
        (
            Target(
                "denoise / BM3D, gray",
                ratios(cells("gray", method="denoise, prior and.*"), cells("gray", method="BM3D")), most=1 / 3,
            ),
            Target(
                "denoise / BM3D, color",
                ratios(cells("color", method="denoise, prior and.*"), cells("color", method="BM3D")), most=1 / 3,
            ),
        ),
        alone=True,
    ),
    "prior learned by the rule": Benchmark("prior_rule.py --seeds 2", needs=("data",)),
    "prior learned in PyTorch": Benchmark("prior_torch.py", needs=("torch", "data")),
    "dust, from the picture alone": Benchmark(
        "clean_detection.py --table formats",
        (
            Target("visible area found, %", cells("area"), least=85),
            Target("visible objects found, %", cells("objects"), least=90),
            Target("false alarms, mean, %", cells("false"), most=0.1),
            Target("false alarms, worst, %", cells("most"), most=0.5),
        ),
        needs=("data",),
    ),
    "dust, false alarms on other pictures": Benchmark(
        "clean_detection.py --table others",
        (
            Target("false alarms, mean, %", cells("false"), most=0.1),
            Target("false alarms, worst, %", cells("most"), most=0.5),
        ),
        needs=("data",),
    ),
    "dust, by infrared": Benchmark(
        "clean_infrared.py --count 16",
        (
            Target("visible area found, %", said(r"visible area found: ([\d.]+)%"), least=97),
            Target("false alarms, mean, %", said(r"false: mean ([\d.]+)%"), most=0.05),
        ),
        needs=("data",),
    ),
    "dust, filled": Benchmark(
        "clean_fill.py --count 8",
        (Target("over OpenCV Telea: mean, dB", said(r"mean gain over Telea: ([-\d.]+)"), least=2),),
        needs=("data",),
    ),
    "dust, 24 megapixels": Benchmark(
        "clean_large.py",
        (Target("seconds", cells("seconds"), most=90), Target("GB", cells("peak"), most=2)),
        alone=True, needs=("data",),
    ),
    "page": Benchmark(
        "page.py --strokes 2",
        (
            Target("stroke to preview: most, s", said(r"([\d.]+) s at most"), most=1),
            Target("memory: most, MB", said(r"(?:met|missed), (\d+) MB"), most=1000),
        ),
        alone=True,
    ),
    "the house": Benchmark(
        "house.py",
        (
            Target("functions of one photograph's way", cells("count", what="functions that one.*"), most=200),
            Target("files of one photograph's way", cells("count", what="files.*"), most=35),
            Target("frames to `sparse_code`", cells("count", what="frames.*"), most=11),
            Target("parameters handed on", cells("count", what="parameters.*"), most=8),
            Target("functions of 12 parameters or more", cells("count", what="functions of.*"), most=3),
            Target("bags of settings", cells("count", what="dict.*"), most=25),
        ),
    ),
    "paper's tables": Benchmark(
        "paper_tables.py --methods 'rule off' 'CoGD k = 1' --seeds 1 2",
        (
            *_protocol("Inpainting", "fruit", 9990, 25.76), *_protocol("Inpainting", "city", 9057, 25.76),
            *_protocol("Reconstruction", "fruit", 11338, 28.12), *_protocol("Reconstruction", "city", 10073, 28.10),
        ),
        needs=("data",),
    ),
    "paper's pictures, for people": Benchmark(
        "paper_tables.py --people",
        (
            Target("fruit, dB", cells("PSNR, fruit", method="CSC.*"), least=31.3),
            Target("city, dB", cells("PSNR, city", method="CSC.*"), least=32.3),
        ),
        needs=("data",),
    ),
    "cogradient descent, eight situations": Benchmark("cogradient.py --seeds 2"),
    "cogradient descent, Beale's function": Benchmark("cogradient.py --beale"),
    "learning in shards": Benchmark("consensus.py --pictures fruit --rounds 15", needs=("data",)),
    "networks, a training step": Benchmark(
        "training_step.py --threads 2",
        (Target("ResNet-20, batches of 128: ours / PyTorch", cells("ratio", network="resnet20"), most=2),),
        alone=True,
        needs=("torch",),
    ),
    "networks, training": Benchmark(
        "training.py --seeds 2",
        (
            Target(
                "% right, ours less PyTorch",
                differences(cells("csc-cogd, %", seed="mean.*"), cells("PyTorch, %", seed="mean.*")), least=-2,
            ),
        ),
        needs=("torch", "data"),
    ),
    "networks, pruning": Benchmark("pruning.py --seeds 2 --budgets 0.5", needs=("data",)),
    "networks, torchvision's": Benchmark(
        "architectures.py",
        (
            Target("from PyTorch's outputs", cells("by names"), most=1e-5),
            Target("pruned, from onnxruntime's outputs", cells("pruned"), most=1e-5),
        ),
        needs=("torch", "torchvision"),
    ),
    "networks, fine-tuning ResNet-50": Benchmark(
        "fine_tuning.py", (Target("peak memory, GB", cells("peak"), most=4),), alone=True
    ),
    "networks, training by cogradient descent": Benchmark(
        "cogd_training.py --images 500 --test 500 --epochs 3 --seeds 2", needs=("data",)
    ),
    "GPU": Benchmark(
        "gpu.py",
        (
            Target("one core / ours, 256 x 256", cells("core / ours", images="256.*"), least=20),
            Target("SPORCO / ours", cells("SPORCO / ours", images="256.*"), least=5),
            Target("share of the bandwidth bound, %", cells("share", images="64.*"), least=60),
            Target("learning from 100 pictures, s", said(r"learning from.*: (\d+) s"), most=60),
        ),
        alone=True,
        needs=("gpu",),
    ),
}  # fmt: skip
