"""Whole files of every kind that csc-cogd reads, and what is done with files of that kind: see `fuzz.py`."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from csc_cogd import Dictionary, InputError, learn_dictionary, learn_dictionary_online, load_codes, restore_batch, save_codes
from csc_cogd.batch.sidecars import sidecar_path
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.codes import reconstruct_images
from csc_cogd.errors import CscCogdError
from csc_cogd.imagefiles import MaskRules, create_images, find_missing, open_images, true_suffix
from csc_cogd.imagefiles.formats.png import insert_chunks

Check = Callable[[Path, Path], None]
"""What is done with a file, beside which there is an empty folder; raises a CscCogdError where the file is refused."""


class Specimen(NamedTuple):
    """A whole file, and what to do with it and with others that are made of it."""

    suffix: str
    form: str
    content: bytes
    check: Check


# -- images ------------------------------------------------------------------------------------------------------------


def rewrite(path: Path, folder: Path, axes: tuple[str | None, ...] = (None,)) -> None:
    """Read every page, write it in its own format and in another one, and take it for a mask of itself."""
    refused: list[CscCogdError] = []
    for letters in axes:
        for suffix in (true_suffix(path), ".png" if path.suffix == ".tif" else ".tif"):
            try:
                with (
                    open_images(path, axes=letters) as reader,
                    create_images(folder / f"a{suffix}", reader, overwrite=True) as writer,
                ):
                    for page in reader:
                        writer.write(page)
            except CscCogdError as error:
                refused.append(error)
    with suppress(CscCogdError), open_images(path) as reader:
        find_missing(reader.read(0), MaskRules(path), n_pages=len(reader))
    if len(refused) == 2 * len(axes):
        raise refused[0]


def picture(*shape: int, dtype: str = "uint8") -> np.ndarray:
    y, x, c = np.ogrid[: shape[0], : shape[1], : (*shape, 1)[2]]
    wave = (np.sin(y / 4 + c) * np.cos(x / 5 - c) * 0.49 + 0.5).reshape(shape)
    return (wave if np.dtype(dtype).kind == "f" else wave * np.iinfo(dtype).max).astype(dtype)


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x010F], tags[0x0112], tags[0x0132], tags[0x011A] = "Maker", 6, "2020:01:01 00:00:00", 300.0
    tags.get_ifd(0x8769).update({0x829A: (1, 50), 0x927C: b"a maker's note"})
    tags.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return tags.tobytes().removeprefix(b"Exif\0\0")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pillow(image: Any, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_files() -> Iterator[bytes]:
    chunks = [(b"gAMA", struct.pack(">I", 45455)), (b"eXIf", exif()), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)]
    yield insert_chunks(imagecodecs.png_encode(picture(20, 17)), chunks)
    yield insert_chunks(imagecodecs.png_encode(picture(9, 11, 4, dtype="uint16")), [(b"tEXt", b"Title\0a picture")])
    palette = Image.fromarray(picture(20, 17, 3)).quantize(16)
    yield pillow(palette, "PNG", transparency=3, icc_profile=PROFILE, dpi=(300, 200))
    yield pillow(Image.fromarray(picture(20, 17) > 99), "PNG")
    header = struct.pack(">IIBBBBB", 5, 5, 8, 0, 0, 0, 1)  # in passes
    rows = [1, 1, 3, 2, 2, 3, 3, 2, 2, 2, 2, 5, 5]
    data = b"".join(b"\0" + bytes(range(n)) for n in rows)
    yield insert_chunks(_png(header, data), [])


def _png(header: bytes, data: bytes) -> bytes:
    import zlib

    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def jpeg_files() -> Iterator[bytes]:
    colors, gray = Image.fromarray(picture(24, 30, 3)), Image.fromarray(picture(24, 30))
    about = {"exif": b"Exif\0\0" + exif(), "icc_profile": PROFILE, "comment": b"a comment", "xmp": XMP, "dpi": (300, 200)}
    yield pillow(colors, "JPEG", quality=90, **about)
    yield pillow(colors, "JPEG", progressive=True, subsampling=2)
    yield pillow(gray, "JPEG", restart_marker_blocks=2)
    yield pillow(colors, "JPEG", subsampling=1, comment=b"half")


def tiff_files() -> Iterator[bytes]:
    def tiff(pixels: np.ndarray, **options: Any) -> bytes:
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, **{"metadata": None, **options})
        return stream.getvalue()

    gray, colors, deep = picture(20, 17), picture(20, 17, 3), picture(20, 17, dtype="uint16")
    tags = [(65000, 5, 1, (1, 2), False), (33432, 2, 0, "somebody", False)]
    yield tiff(colors, photometric="rgb", tile=(16, 16), compression="zlib", extratags=tags, iccprofile=PROFILE)
    yield tiff(deep, compression="lzw", predictor=2, rowsperstrip=3, byteorder=">")
    yield tiff(picture(20, 17, dtype="float32"), compression="zstd", bigtiff=True, byteorder=">", tile=(16, 16))
    yield tiff(np.stack([gray] * 3), photometric="minisblack", compression="packbits", description="three pages")
    yield tiff(np.moveaxis(colors, -1, 0), photometric="rgb", planarconfig="separate", rowsperstrip=4)
    yield tiff(picture(9, 8, 2), photometric="minisblack", extrasamples=(2,))
    yield tiff(gray, photometric="palette", colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 80)
    yield tiff(picture(16, 16) > 99, photometric="miniswhite")
    yield tiff(gray, compression="lzma")
    for compression in ("jpeg", "jpeg2000", "jpegxl", "png", "webp", "lerc"):
        yield tiff(picture(16, 16, 3), photometric="rgb", compression=compression)
    yield pillow(Image.fromarray(gray > 99), "TIFF", compression="group4")
    yield pillow(Image.fromarray(colors), "TIFF", exif=exif(), dpi=(300, 200))


def npy_files() -> Iterator[bytes]:
    for array in (picture(9, 8), picture(9, 8, 3), picture(4, 9, dtype="float32"), picture(9, 8, dtype="uint16").T):
        yield npy(array)
    yield npy(np.stack([picture(9, 8)] * 3))
    yield npy(picture(9, 8, dtype="float64").astype(">f8"))


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(compress: bool = False, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(stream, **arrays)
    return stream.getvalue()


def npz_files() -> Iterator[bytes]:
    table = np.arange(5)
    for compress in (False, True):
        yield npz(compress, image=picture(9, 8), other=picture(5, 7, dtype="float32"), table=table)
        yield npz(compress, stack=np.stack([picture(9, 8)] * 3), names=np.array(["a", "b"]))


# -- dictionaries, codes, checkpoints ----------------------------------------------------------------------------------

IMAGES = np.random.default_rng(4).standard_normal((2, 12, 13))
LEARNING: dict[str, Any] = {"n_filters": 2, "filter_shape": 3, "lmbda": 0.4, "device": "cpu", "checkpoint_every": 1}
RUNS: dict[str, Callable[..., Any]] = {
    "plain": partial(learn_dictionary, IMAGES, tol=0, **LEARNING),
    "cogradient": partial(learn_dictionary, IMAGES, tol=0, cogd=CogradientRule(degree=2, eta=0.1), **LEARNING),
    "online": partial(learn_dictionary_online, IMAGES, batch_size=2, crop=10, **LEARNING),
}


def use_dictionary(path: Path, folder: Path) -> None:
    dictionary = Dictionary.load(path)
    dictionary.sizes(), dictionary.mosaic(), dictionary.center_frequencies()
    dictionary.save(folder / "a.npz")
    reconstruct_images(np.ones((1, dictionary.n_filters, *dictionary.filter_shape)), dictionary, device="cpu")


def use_codes(path: Path, folder: Path) -> None:
    save_codes(load_codes(path), folder / "a.npz")


def written(write: Callable[[Path], Any]) -> bytes:
    """What is written to a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "a.npz")
        return (Path(folder) / "a.npz").read_bytes()


def go_on(run: Callable[..., Any], path: Path, folder: Path) -> None:
    run(checkpoint=path, max_iter=3)


def dictionaries() -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(1)
    shapes = np.array([[2, 3], [3, 2]])
    filters = np.zeros((2, 3, 3))
    for kernel, (h, w) in zip(filters, shapes, strict=True):
        kernel[:h, :w] = rng.standard_normal((h, w))
    about = {"learned from": ["a.png", "b.png"], "settings": {"lmbda": 0.1}}
    yield "npz", written(Dictionary(filters, shapes, about).save)
    yield "npz", written(Dictionary(rng.standard_normal((4, 3, 5, 5)).astype(np.float32)).save)
    yield "NPY", npy(rng.standard_normal((3, 4, 4)))


def codes() -> Iterator[bytes]:
    rng = np.random.default_rng(2)
    sparse = np.where(rng.random((2, 3, 7, 8)) < 0.1, rng.standard_normal((2, 3, 7, 8)), 0)
    yield written(lambda path: save_codes(sparse.astype(np.float32), path))
    yield written(lambda path: save_codes(np.zeros((1, 2, 3, 4)), path))


# -- records of batches ------------------------------------------------------------------------------------------------

GAPS = np.where(np.eye(16) > 0, np.nan, picture(16, 16, dtype="float64"))


def restored(folder: Path, **options: Any) -> Any:
    """The result of a small image whose results are remembered."""
    (folder / "out").mkdir(exist_ok=True)
    np.save(folder / "a.npy", GAPS)
    settings = {"effort": "fast", "max_iter": 1, "device": "cpu", "threads": 1, "skip_existing": True, **options}
    (result,) = restore_batch(folder / "a.npy", folder / "out", **settings)
    return result


def sidecar() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        restored(Path(folder), report=Path(folder) / "report")
        return sidecar_path(Path(folder) / "out" / "a.npy").read_bytes()


def resume(path: Path, folder: Path) -> None:
    """Go on with a batch whose result is remembered so."""
    np.save(folder / "a.npy", GAPS)
    record = folder / "out" / ".csc-cogd" / "a.npy.json"
    record.parent.mkdir(parents=True)
    np.save(folder / "out" / "a.npy", GAPS)
    text = path.read_bytes()
    with suppress(ValueError, RecursionError, TypeError, KeyError):  # of this result, or nothing else in it is looked at
        import hashlib

        told = json.loads(text)
        told["output"]["sha256"] = hashlib.sha256((folder / "out" / "a.npy").read_bytes()).hexdigest()
        text = json.dumps(told).encode()
    record.write_bytes(text)
    result = restored(folder, report=folder / "report")
    json.dumps(result.row())
    if "unexpected" in result.error:
        raise AssertionError(result.error + result.trace)
    if result.status == "failed":
        raise InputError(result.error)


# -- settings ----------------------------------------------------------------------------------------------------------

SETTINGS = b"""fast = true
iterations = 3
mask-dilate = 2
jobs = 2

[inpaint]
mask = "masks"
mask-color = "#ff0000"
noise-sigma = 0.5

[learn]
filters = [16, 8]

[dictionary.show]
output = "filters.png"
"""


def use_settings(path: Path, folder: Path) -> None:
    """Print the settings of some commands that a file is for."""
    from csc_cogd.cli import main

    codes = []
    for command in (["inpaint"], ["learn"], ["dictionary", "show"]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([*command, "--config", str(path), "--print-config"])
            except SystemExit as ended:
                codes.append(ended.code)
        said = err.getvalue()
        assert codes[-1] in (0, 2), f"exit code {codes[-1]}, and says: {said}"
        assert not said or (said.startswith("csc-cogd: error: ") and said.count("\n") == 1), said
    if 0 not in codes:
        raise InputError(said.strip())


# -- weights -----------------------------------------------------------------------------------------------------------


def network_files() -> Iterator[bytes]:
    from csc_cogd.nn import build_network, save_checkpoint

    about = {"network": "resnet20", "n_classes": 3, "class_names": ["a", "b", "c"]}
    yield written(lambda path: save_checkpoint(build_network("resnet20", 3).state_dict(), path, metadata=about))
    yield written(lambda path: save_checkpoint({"a": np.ones((2, 3)), "b": np.arange(4)}, path, metadata={"epoch": 7}))


def use_network(path: Path, folder: Path) -> None:
    from csc_cogd.nn import load_checkpoint, load_network, save_checkpoint

    arrays, about = load_checkpoint(path)
    if arrays:
        save_checkpoint(arrays, folder / "a.safetensors", metadata=about)
    if isinstance(about.get("network"), str):
        load_network(path)


def training_run(path: Path, epochs: int) -> Any:
    """Train a small network, and go on where it was left."""
    from csc_cogd.nn import Module, Recipe, train
    from csc_cogd.nn.data.batches import Normalization
    from csc_cogd.nn.data.image_set import ImageSet
    from csc_cogd.nn.functions import global_avg_pool2d
    from csc_cogd.nn.layers import Conv2d, Linear

    class Network(Module):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.conv, self.linear = Conv2d(3, 2, 3, rng, padding=1), Linear(2, 2, rng)

        def forward(self, x: Any) -> Any:
            return self.linear(global_avg_pool2d(self.conv(x)))

    class Stop(Exception):  # noqa: N818  # no error
        pass

    def stop(progress: Any) -> None:
        if progress.epoch > epochs:
            raise Stop

    images = ImageSet(np.arange(6 * 48, dtype=np.uint8).reshape(6, 4, 4, 3), np.arange(6) % 2, ("a", "b"))
    with suppress(Stop):
        half = Normalization((0.5,) * 3, (0.5,) * 3)
        train(
            Network(), images, Recipe(3, batch_size=3), normalization=half, checkpoint=path, resume=epochs > 1, progress=stop
        )


def go_on_training(path: Path, folder: Path) -> None:
    training_run(path, 2)


# -- all of them -------------------------------------------------------------------------------------------------------


def specimens(kind: str) -> list[Specimen]:
    """Whole files of a kind, one of `KINDS`; what is to be had of each is tried in turn."""
    return list(KINDS[kind]())


def _of(form: str, suffix: str, contents: Callable[[], Iterator[bytes]], check: Check) -> Callable[[], Iterator[Specimen]]:
    return lambda: (Specimen(suffix, form, content, check) for content in contents())


def _dictionaries() -> Iterator[Specimen]:
    for form, content in dictionaries():
        yield Specimen(".npz", form, content, use_dictionary)


def _checkpoints() -> Iterator[Specimen]:
    for run in RUNS.values():
        content = written(lambda path, run=run: run(checkpoint=path, max_iter=2))
        yield Specimen(".npz", "npz", content, partial(go_on, run))
    content = written(lambda path: training_run(path, 1))
    yield Specimen(".safetensors", "safetensors", content, go_on_training)


def _sidecars() -> Iterator[Specimen]:
    yield Specimen(".json", "JSON", sidecar(), resume)


KINDS: dict[str, Callable[[], Iterator[Specimen]]] = {
    "PNG": _of("PNG", ".png", png_files, rewrite), "JPEG": _of("JPEG", ".jpg", jpeg_files, rewrite),
    "TIFF": _of("TIFF", ".tif", tiff_files, rewrite),
    "NPY": _of("NPY", ".npy", npy_files, partial(rewrite, axes=(None, "NYX"))),
    "NPZ": _of("npz", ".npz", npz_files, partial(rewrite, axes=(None, "NYX"))), "dictionaries": _dictionaries,
    "codes": _of("npz", ".npz", codes, use_codes), "checkpoints": _checkpoints, "sidecars": _sidecars,
    "TOML": _of("TOML", ".toml", lambda: iter([SETTINGS]), use_settings),
    "safetensors": _of("safetensors", ".safetensors", network_files, use_network),
}  # fmt: skip
IMAGE_KINDS = ("PNG", "JPEG", "TIFF", "NPY", "NPZ")
