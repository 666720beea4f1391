"""How long the way through the code is: ``python benchmarks/house.py [--details]``.

One photograph is inpainted by the command while `sys.setprofile` watches which functions of the package are entered, and how
deep ``sparse_code`` lies below the command's ``main``. The rest is read from the source as syntax trees: parameters that are
handed on under their name through four functions or more, functions of twelve parameters or more outside of the public API,
untyped bags of settings (``dict[str, Any]`` and ``**``), regular expressions over messages, and messages of the library that
name options of the command line.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import csc_cogd

LONG_WAY = 4  # functions that a parameter passes
MANY = 12  # parameters
NO_FUNCTIONS = {"<module>", "<listcomp>", "<dictcomp>", "<setcomp>"}  # since Python 3.12, comprehensions are none
LIBRARY = Path(csc_cogd.__file__).parent
ROOT = LIBRARY.parent
PACKAGES = [folder for folder in (LIBRARY, ROOT / "cli") if folder.exists()]


class Function(NamedTuple):
    """A function as it is written."""

    file: Path
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def parameters(self) -> list[str]:
        a = self.node.args
        return [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs) if arg.arg not in ("self", "cls")]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.node.lineno} {self.node.name}"


def profile_inpainting() -> tuple[set[tuple[str, int, str]], int]:
    """The package's functions that one ``csc-cogd inpaint`` enters, and the depth of ``sparse_code`` below ``main``."""
    from csc_cogd.cli import main

    entered: set[tuple[str, int, str]] = set()
    depth = 0
    folders = tuple(f"{folder}/" for folder in PACKAGES)

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal depth
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(folders) or code.co_name in NO_FUNCTIONS:
            return
        entered.add((code.co_filename, code.co_firstlineno, code.co_name))
        if code.co_name == "sparse_code" and not depth:
            depth = sum(f.f_code.co_filename.startswith(folders) for f in _frames(frame))

    with tempfile.TemporaryDirectory() as folder:
        photograph, mask = Path(folder, "photograph.png"), Path(folder, "mask.png")
        _save_photograph(photograph, mask)
        for result in ("loaded.png", "restored.png"):  # the first run loads and compiles, the second is watched
            if result == "restored.png":
                sys.setprofile(watch)
            with suppress(SystemExit):
                main(["inpaint", str(photograph), "-m", str(mask), "-q", "-o", str(Path(folder, result))])
            sys.setprofile(None)
            assert Path(folder, result).exists(), "inpainting failed"
    return entered, depth


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _save_photograph(photograph: Path, mask: Path) -> None:
    import imageio.v3 as imageio

    pictures = [path for folder in (LIBRARY, ROOT) for path in (folder / "data").glob("photo.png")]
    picture = imageio.imread(pictures[0])[:128, :128]
    missing = np.zeros(picture.shape[:2], np.uint8)
    missing[40:44, 10:100] = missing[20:90, 64:66] = 255
    imageio.imwrite(photograph, picture)
    imageio.imwrite(mask, missing)


def read_functions() -> dict[str, list[Function]]:
    """All functions of the package, by name."""
    functions: dict[str, list[Function]] = defaultdict(list)
    for file, tree in read_sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[node.name].append(Function(file, node))
    return functions


def read_sources() -> Iterator[tuple[Path, ast.Module]]:
    """The package's modules, each once, though links show some of them twice."""
    seen = set()
    for folder in PACKAGES:
        for file in sorted(folder.rglob("*.py")):
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file, ast.parse(file.read_text())


def long_ways(functions: dict[str, list[Function]]) -> dict[str, list[Function]]:
    """Of each parameter's name, the longest row of functions that hand it on unchanged, where it is long."""
    handed_on: dict[tuple[int, str], list[Function]] = defaultdict(list)
    written = [function for group in functions.values() for function in group]
    for function in written:
        variables = (node for node in ast.walk(function.node) if isinstance(node, ast.Name))
        names = {*function.parameters} - {node.id for node in variables if isinstance(node.ctx, ast.Store)}
        for call in (node for node in ast.walk(function.node) if isinstance(node, ast.Call)):
            for callee, arguments in _callees(call, functions):
                for given, parameter in arguments:
                    if isinstance(given, ast.Name) and given.id in names and given.id == parameter:
                        handed_on[id(function.node), given.id].append(callee)
    longest: dict[str, list[Function]] = {}
    for function in written:
        for name in function.parameters:
            way = _longest(function, name, handed_on)
            if len(way) >= LONG_WAY and len(way) > len(longest.get(name, ())):
                longest[name] = way
    return longest


def _callees(call: ast.Call, functions: dict[str, list[Function]]) -> Iterator[tuple[Function, list[tuple[ast.expr, str]]]]:
    """The function that a call enters, where its name tells, and which of its parameters is given what."""
    target, positional = call.func, list(call.args)
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    if name == "partial" and positional and isinstance(positional[0], ast.Name):
        name, positional = positional[0].id, positional[1:]
    if len(functions.get(name, ())) == 1:
        callee = functions[name][0]
        arguments = list(zip(positional, callee.parameters, strict=False))
        arguments += [(keyword.value, keyword.arg) for keyword in call.keywords if keyword.arg in callee.parameters]
        yield callee, arguments


def _longest(
    function: Function, name: str, handed_on: dict[tuple[int, str], list[Function]], passed: tuple[int, ...] = ()
) -> list[Function]:
    here = id(function.node)
    if here in passed:
        return []
    ways = [_longest(callee, name, handed_on, (*passed, here)) for callee in handed_on.get((here, name), ())]
    return [function, *max(ways, key=len, default=[])]


def public_functions() -> set[str]:
    """Names that the package and its networks offer."""
    import csc_cogd.nn

    return {*csc_cogd.__all__, *csc_cogd.nn.__all__}


def bags(tree: ast.Module) -> Iterator[int]:
    """Lines with ``dict[str, Any]``, or ``**`` in a signature or a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]":
            yield node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and node.args.kwarg is not None:
            yield node.args.kwarg.lineno
        elif isinstance(node, ast.Call):
            yield from (keyword.value.lineno for keyword in node.keywords if keyword.arg is None)


def rewritten_messages(tree: ast.Module) -> Iterator[int]:
    """Lines on which a regular expression is applied to the text of an error."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in (
            "re.sub",
            "re.match",
            "re.search",
            "re.fullmatch",
        ):
            continue
        if any(word in ast.unparse(node) for word in ("error", "text)", "message")) and "b'" not in ast.unparse(node):
            yield node.lineno


def read_options() -> set[str]:
    """The options of all commands; not those of compilers, nor CSS's variables, which look alike."""
    declared = (node for file, tree in read_sources() if "cli" in file.parts for node in ast.walk(tree))
    texts = {node.value for node in declared if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {name for text in texts if " " not in text for name in text.split("/") if name.startswith("--")}


def named_options(tree: ast.Module, options: set[str]) -> Iterator[int]:
    """Lines of texts, but docstrings, that name an option of the command line."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        words = {word.rstrip(".,:;)").lstrip("(") for word in node.value.replace("'", " ").split()}
        if words & options:
            yield node.lineno


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--details", action="store_true", help="list what was counted")
    details = parser.parse_args().details
    functions, sources = read_functions(), list(read_sources())
    public = public_functions()
    commands = {str(f) for group in functions.values() for f in group if f.node.decorator_list and "cli" in f.file.parts}
    wide = [
        f for name, group in functions.items() for f in group
        if len(f.parameters) >= MANY and name not in public and str(f) not in commands
    ]  # fmt: skip
    ways = long_ways(functions)
    entered, depth = profile_inpainting()

    def places(find: Any, library_only: bool = False) -> list[str]:
        return [
            f"{file.relative_to(ROOT)}:{line}" for file, tree in sources for line in find(tree)
            if not (library_only and "cli" in file.parts)
        ]  # fmt: skip

    rows: list[tuple[str, Any, list[Any]]] = [
        ("functions that one inpainted photograph enters", len(entered), []),
        ("files that they are in", len({file for file, _, _ in entered}), []),
        ("frames from main to sparse_code", depth, []),
        (
            f"parameters handed on through {LONG_WAY} functions or more", len(ways),
            [f"{name}: {' > '.join(f.node.name for f in way)}" for name, way in sorted(ways.items())],
        ),
        (f"functions of {MANY} parameters or more outside of the public API", len(wide), wide),
    ]  # fmt: skip
    naming = partial(named_options, options=read_options())
    for title, found in (
        ("dict[str, Any] and **", places(bags)),
        ("regular expressions over messages", places(rewritten_messages)),
        (
            "messages of the library that name options",
            places(naming, library_only=True),
        ),
    ):
        rows.append((title, len(found), found))
    lines = sum(line.strip() != "" for file, _ in sources for line in file.read_text().splitlines())
    rows.append(("lines of Python that aren't empty", lines, []))
    print("| what | count |\n| --- | --- |")
    for title, count, found in rows:
        print(f"| {title} | {count} |")
        for place in found if details else ():
            print(f"    {place}", file=sys.stderr)


if __name__ == "__main__":
    main()
