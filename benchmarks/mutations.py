"""Changes of whole files into damaged and hostile ones, that know a file's parts: see `fuzz.py`."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[Rng, bytes], bytes]

EDGES = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**64, 10**400, 0.5, -0.0, float("nan"), float("inf"), "", "a", "1", "\0", "é" * 300,
    [], [[]], [None], {}, {"a": {}}, [1, 2, 3], [0] * 300,
)  # fmt: skip


def choice(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def place(rng: Rng, length: int) -> int:
    """A place, as often among the first hundred as anywhere."""
    return int(rng.integers(max(min(length, 100) if rng.random() < 0.5 else length, 1)))


# -- bytes, whatever they mean -----------------------------------------------------------------------------------------


def flip_bits(rng: Rng, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if changed else 0):
        changed[place(rng, len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(rng: Rng, content: bytes) -> bytes:
    return content[: place(rng, len(content))]


def change_length(rng: Rng, content: bytes) -> bytes:
    """Another number where there could be a length, an offset or a size."""
    size, order = choice(rng, (1, 2, 4, 8)), choice(rng, ("little", "big"))
    start = place(rng, len(content) - size)
    old = int.from_bytes(content[start : start + size], order)
    new = choice(rng, EDGES) if rng.random() < 0.7 else old + int(rng.integers(-3, 4))
    return content[:start] + (new % 256**size).to_bytes(size, order) + content[start + size :]


def repeat_piece(rng: Rng, content: bytes) -> bytes:
    start, length = place(rng, len(content)), int(rng.integers(1, 65))
    return content[:start] + content[start : start + length] * int(rng.integers(2, 200)) + content[start + length :]


def cut_out(rng: Rng, content: bytes) -> bytes:
    start = place(rng, len(content))
    return content[:start] + content[start + int(rng.integers(1, 65)) :]


def move_piece(rng: Rng, content: bytes) -> bytes:
    start, length, end = place(rng, len(content)), int(rng.integers(1, 257)), place(rng, len(content))
    return content[:end] + content[start : start + length] + content[end:]


def put_nonsense(rng: Rng, content: bytes) -> bytes:
    start = place(rng, len(content))
    return content[:start] + rng.bytes(int(rng.integers(1, 33))) + content[start:]


ANYWHERE = (flip_bits, truncate, change_length, repeat_piece, cut_out, move_piece, put_nonsense)


def change_part(rng: Rng, parts: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Parts of which one is changed, left out, doubled, or given another's place."""
    parts = list(parts)
    at = int(rng.integers(len(parts)))
    how = rng.random()
    if how < 0.7:
        parts[at] = change(parts[at])
    elif how < 0.8:
        del parts[at]
    elif how < 0.9:
        parts.insert(int(rng.integers(len(parts) + 1)), parts[at])
    else:
        parts.insert(int(rng.integers(len(parts))), parts.pop(at))
    return parts


# -- image files -------------------------------------------------------------------------------------------------------


def change_chunk(rng: Rng, content: bytes) -> bytes:
    """A chunk of a PNG, under a checksum that fits."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length

    def change(chunk: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        kind, body = chunk
        if kind == b"IDAT" and rng.random() < 0.5:  # the data itself, under its checksum
            return kind, zlib.compress(choice(rng, ANYWHERE)(rng, zlib.decompressobj().decompress(body)))
        return kind, choice(rng, ANYWHERE)(rng, body)

    chunks = change_part(rng, chunks, change) if chunks else chunks
    packed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return content[:8] + b"".join(packed)


def change_segment(rng: Rng, content: bytes) -> bytes:
    """A segment of a JPEG before its pixels, of a length that fits."""
    segments, at = [], 2
    while at + 4 <= len(content) and content[at + 1] != 0xDA:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segments.append((content[at : at + 2], content[at + 4 : at + 2 + length]))
        at += 2 + length
    if not segments:
        return content
    segments = change_part(rng, segments, lambda segment: (segment[0], choice(rng, ANYWHERE)(rng, segment[1])[:65533]))
    packed = (marker + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments)
    return content[:2] + b"".join(packed) + content[at:]


def change_tag(rng: Rng, content: bytes) -> bytes:
    """Code, type, count or value of a tag of a TIFF, or of EXIF data in it."""
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    size, entry = (8, 20) if big else (4, 12)
    starts = [struct.unpack_from(f"{order}Q" if big else f"{order}I", content, size)[0]]
    for _ in range(int(rng.integers(3))):  # of a directory that another one points to
        pointers = [at for at in _entries(content, starts[-1], order, big) if content[at : at + 2] in _pointers(order)]
        if pointers:
            starts.append(
                struct.unpack_from(f"{order}Q" if big else f"{order}I", content, choice(rng, pointers) + 4 + size)[0]
            )
    entries = _entries(content, starts[-1], order, big)
    if not entries:
        return content
    at = choice(rng, entries)
    changed = bytearray(content)
    what = int(rng.integers(4))
    if what == 0:
        changed[at : at + 2] = struct.pack(
            f"{order}H", choice(rng, (254, 256, 258, 259, 262, 273, 277, 278, 320, 338, 34665, 34853))
        )
    elif what == 1:
        changed[at + 2 : at + 4] = struct.pack(f"{order}H", int(rng.integers(0, 20)))
    else:
        new = choice(rng, (*EDGES, *starts, len(content), at, 5, 6, 7, 34887, 50001)) % 256**size
        start = at + 4 + size * (what - 2)
        changed[start : start + size] = new.to_bytes(size, "little" if order == "<" else "big")
    return bytes(changed[: max(len(content), at + entry)])


def _pointers(order: str) -> tuple[bytes, ...]:
    return tuple(struct.pack(f"{order}H", code) for code in (34665, 34853, 40965))


def _entries(content: bytes, start: int, order: str, big: bool) -> list[int]:
    """Where the tags of a directory are."""
    head, entry = (8, 20) if big else (2, 12)
    if start + head > len(content):
        return []
    count = int.from_bytes(content[start : start + head], "little" if order == "<" else "big")
    places = range(start + head, min(start + head + entry * count, len(content) - entry), entry)
    return list(places[:500])


# -- arrays ------------------------------------------------------------------------------------------------------------


def change_header(rng: Rng, content: bytes) -> bytes:
    """What an NPY file says of its array, in a header of a length that fits."""
    size = int.from_bytes(content[8:10], "little")
    text, data = content[10 : 10 + size].decode("latin1"), content[10 + size :]
    how = rng.random()
    if how < 0.4:
        sides = [
            str(choice(rng, (0, 1, 2, 7, 100, 60000, -1, 10**9, 2**63, 10**25))) for _ in range(int(rng.integers(0, 6)))
        ]
        text = re.sub(r"\([^()]*\)", f"({''.join(side + ',' for side in sides)})", text)
    elif how < 0.7:
        kinds = ("|O", "<U9", "|S0", "|V3", "<c16", "<f2", ">f8", "|b1", "<M8[ns]", "<i8", "x", "|S999999999", ["a"])
        text = re.sub(r"'descr': [^,]+", f"'descr': {choice(rng, kinds)!r}", text)
    elif how < 0.8:
        text = text.replace("False", "True")
    else:
        text = choice(rng, ANYWHERE)(rng, text.encode()).decode("latin1")
    packed = text.encode("latin1", "replace")[:65535]
    return content[:8] + len(packed).to_bytes(2, "little") + packed + data


def change_array(rng: Rng, content: bytes) -> bytes:
    """An array: its header, its values, or another array."""
    if content[:6] != b"\x93NUMPY" or rng.random() < 0.4:
        return change_header(rng, content) if content[:6] == b"\x93NUMPY" else choice(rng, ANYWHERE)(rng, content)
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception:
        return content
    if array.dtype == np.uint8 and array.ndim == 1:  # as texts are
        return saved(np.frombuffer(change_json(rng, array.tobytes()), np.uint8))
    how = int(rng.integers(7))
    if how == 0 and array.dtype.kind == "f" and array.size:
        array = array.copy()
        array.flat[:: int(rng.integers(1, array.size + 1))] = choice(rng, (np.nan, np.inf, -np.inf, 1e38, -1e-38, 0))
    elif how == 1:
        array = array.astype(choice(rng, ("f2", "f4", ">f8", "i1", "u8", "c8", "?", "S3")))
    elif how == 2:
        array = array.reshape(choice(rng, ((-1,), (1, -1), (-1, 1), (-1, 1, 1, 1), (*array.shape, 1))))
    elif how == 3:
        array = array[:0] if array.ndim else array[None]
    elif how == 4:
        array = np.asfortranarray(array)
    elif how == 5:
        array = -array if array.dtype.kind in "if" else ~array
    else:
        array = array[::-1] if array.ndim else array + choice(rng, (-1, 2**40))
    return saved(array)


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def change_member(rng: Rng, content: bytes) -> bytes:
    """A member of an npz, under a checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = [(info.filename, file.read(info), info.compress_type) for info in file.infolist()]

    def change(member: tuple[str, bytes, int]) -> tuple[str, bytes, int]:
        name, data, kind = member
        how = rng.random()
        if how < 0.7:
            return name, change_array(rng, data), kind
        if how < 0.8:
            return choice(rng, ("", "a", "about.npy", "filters.npy", "../x.npy", "é.npy", name + ".npy")), data, kind
        if how < 0.9:
            return name, bytes(int(rng.integers(0, 10))), kind
        return name, data + bytes(2**23), choice(rng, (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))

    members = change_part(rng, members, change) if members else members
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for number, (name, data, kind) in enumerate(members):
            file.writestr(zipfile.ZipInfo(name or f"{number}"), data, kind)
        if members and rng.random() < 0.1:  # a lie about one's size
            choice(rng, file.infolist()).file_size = choice(rng, EDGES[:-2])
    return stream.getvalue()


# -- texts -------------------------------------------------------------------------------------------------------------


def change_json(rng: Rng, content: bytes) -> bytes:
    """A value somewhere in a text of JSON, or the text."""
    try:
        tree = json.loads(content)
    except ValueError:
        return choice(rng, ANYWHERE)(rng, content)
    if rng.random() < 0.1:
        return choice(
            rng,
            (b"[" * 10**5, b'{"a":' * 10**5, b"", b"NaN", b"\xff\xfe", b"1" * 5000, *[m(rng, content) for m in ANYWHERE]),
        )
    return json.dumps(changed_tree(rng, tree)).encode()


def changed_tree(rng: Rng, tree: Any) -> Any:
    """A tree of lists and mappings with another value somewhere, also within a text of JSON."""
    if isinstance(tree, str) and tree.startswith(("[", "{")) and rng.random() < 0.8:
        return json.dumps(changed_tree(rng, json.loads(tree)))
    if rng.random() < 0.05 or not isinstance(tree, (dict, list)) or not tree:
        return choice(rng, VALUES)
    if isinstance(tree, list):
        return change_part(rng, tree, lambda part: changed_tree(rng, part))
    items = change_part(rng, list(tree.items()), lambda item: (item[0], changed_tree(rng, item[1])))
    return dict(items)


def change_safetensors(rng: Rng, content: bytes) -> bytes:
    """The header of a safetensors file, of a length that fits."""
    size = int.from_bytes(content[:8], "little")
    header = change_json(rng, content[8 : 8 + size])
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def change_metadata(rng: Rng, content: bytes) -> bytes:
    """One of the texts of JSON that are the metadata of a safetensors file."""
    size = int.from_bytes(content[:8], "little")
    tree = json.loads(content[8 : 8 + size])
    key = choice(rng, list(tree["__metadata__"]))
    tree["__metadata__"][key] = change_json(rng, tree["__metadata__"][key].encode()).decode("utf-8", "replace")
    header = json.dumps(tree).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def change_values(rng: Rng, content: bytes) -> bytes:
    """Numbers of a safetensors file."""
    size = 8 + int.from_bytes(content[:8], "little")
    return content[:size] + choice(rng, (flip_bits, change_length))(rng, content[size:])


def change_toml(rng: Rng, content: bytes) -> bytes:
    """A key, a value or a line of a file of settings."""
    lines = content.decode("utf-8", "replace").split("\n")
    values = (
        "1e400", "-1", "nan", "inf", "true", '""', "[]", "[[[]]]", "{}", "{a = 1}", '"\\u0000"', "'../..'", '"""\n"""',
        "2020-01-01", "0x7fffffffffffffffff", "[" * 2000, '"' + "x" * 5000 + '"', "1_0", "07:00:00",
    )  # fmt: skip
    keys = (
        "iterations",
        "output",
        "mask",
        "jobs",
        "a.b",
        '""',
        "config",
        "[inpaint]",
        "[[inpaint]]",
        "[learn.x]",
        "é",
        "threads",
    )

    def change(line: str) -> str:
        key, _, _ = line.partition("=")
        how = rng.random()
        if how < 0.5:
            return f"{key}= {choice(rng, values)}"
        if how < 0.7:
            return f"{choice(rng, keys)} = {choice(rng, values)}"
        if how < 0.8:
            return str(choice(rng, keys))
        return choice(rng, ANYWHERE)(rng, line.encode()).decode("latin1")

    return "\n".join(change_part(rng, lines, change)).encode("utf-8", "replace")


KNOWING: dict[str, tuple[Mutation, ...]] = {
    "PNG": (change_chunk,), "JPEG": (change_segment,), "TIFF": (change_tag,), "NPY": (change_header, change_array),
    "npz": (change_member,), "JSON": (change_json,), "TOML": (change_toml,),
    "safetensors": (change_safetensors, change_metadata, change_values),
}  # fmt: skip
"""By a format, the changes that know its parts."""


def mutated(rng: Rng, content: bytes, form: str) -> bytes:
    """A file of a format after one to five changes, most of which know its parts."""
    for _ in range(min(int(rng.geometric(0.5)), 5)):
        change = choice(rng, KNOWING[form]) if rng.random() < 0.6 else choice(rng, ANYWHERE)
        try:
            content = change(rng, content)
        except Exception:  # what was changed before has no such parts any more
            content = flip_bits(rng, content)
    return content
