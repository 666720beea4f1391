"""``--config`` and ``--print-config``: every command's options, read from a TOML file and written as one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from csc_cogd.cli.console import echo
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import make_records, options_of
from csc_cogd.errors import InputError

_VARIABLE = "CSC_COGD_CONFIG"
_PLACES = "csc_cogd.cli.config"  # where a context keeps, for each parameter that the file sets, the place in it
_FILES = {"FILE", "DIR", "KERNEL"}  # in the metavar of a text that may name a file


def configurable(command: click.Command) -> click.Command:
    """Add ``--config`` and ``--print-config`` to a command, or to every command of a group."""
    if isinstance(command, click.Group):
        group = copy.copy(command)
        group.commands = {name: configurable(inner) for name, inner in command.commands.items()}
        return group
    made = _Configurable(command.name)
    vars(made).update(vars(command))
    made.params = [*command.params, _CONFIG, _PRINT_CONFIG]
    return made


class _Configurable(click.Command):
    """A command whose options may stand in a file; ``--no-x`` takes a switch ``x = true`` back."""

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        for key, option in _options(self).items():
            if option.is_flag and not option.secondary_opts:
                parser.add_option(option, [f"--no-{key}"], option.name, "store_const", const=False)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.ensure_object(dict).update(options_of(self))
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        printing = "print_config" in given and not ctx.resilient_parsing
        command = self._without_demands() if printing else self
        try:
            rest = super(_Configurable, command).parse_args(ctx, args)
        except click.BadParameter as error:
            name = error.param.name if error.param else None
            if name is None or ctx.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP:
                raise
            raise InputError("", error.message.rstrip("."), subject=ctx.meta[_PLACES][name]) from None
        if printing:
            for line in list(_toml_lines(ctx)):
                echo(line)
            ctx.exit()
        if not ctx.resilient_parsing:
            make_records(self, ctx.params)
        return rest

    def _without_demands(self) -> _Configurable:
        """Return the same command without required arguments and options."""
        command = copy.copy(self)
        command.params = [copy.copy(parameter) for parameter in self.params]
        for parameter in command.params:
            parameter.required = False
        return command


def _use(ctx: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Let the file's settings stand in for defaults."""
    if path is None or ctx.resilient_parsing:
        return
    known = _options(ctx.command)
    ctx.default_map, ctx.meta[_PLACES] = {}, {}
    try:
        for key, (place, value) in _settings(_read(path), ctx.find_root().command, _names(ctx), known).items():
            name = known[key].name
            ctx.default_map[name] = _as_given(known[key], place, value, path.parent)
            ctx.meta[_PLACES][name] = f"{path}: {place}"
    except InputError as error:
        place = ": ".join(filter(None, (str(path), error.subject)))
        raise InputError("", error.problem, error.fix, place) from None


_CONFIG = click.Option(
    ["--config"], type=PATH, metavar="FILE", envvar=_VARIABLE, is_eager=True, expose_value=False, callback=_use,
    help="Take options from a TOML file, as in: mask-dilate = 2. At its top, they are for all commands; in a table such as "
    "[inpaint], for one. The command line wins, by --no-fast also over fast = true. Paths count from the file's folder. "
    f"Default: ${_VARIABLE}.",
)  # fmt: skip
_PRINT_CONFIG = click.Option(
    ["--print-config"], is_flag=True, expose_value=False,
    help="Print the settings of this call as a file for --config, and do nothing.",
)  # fmt: skip


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the options of a command, or of all commands of a group, by their long names without dashes."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        inner = (command.get_command(ctx, name) for name in command.list_commands(ctx))
        return {key: option for each in inner if each for key, option in _options(each).items()}
    return {
        name[2:]: option
        for option in command.params
        if isinstance(option, click.Option) and option.expose_value  # --config and --print-config aren't
        for name in [name for name in option.opts if name.startswith("--")][:1]
    }


def _names(ctx: click.Context) -> list[str]:
    """Return the names from the root to this command, such as ``["dictionary", "show"]``."""
    return [*_names(ctx.parent), ctx.info_name or ""] if ctx.parent else []


def _read(path: Path) -> dict[str, object]:
    """Return the table of a TOML file."""
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError("", f"can't be read: {error.strerror}", "name another file for {config}") from None
    except (ValueError, RecursionError) as error:
        raise InputError("", f"isn't TOML: {error}", "write lines such as: lmbda = 0.02") from None


def _settings(
    table: dict[str, object], command: click.Command, names: list[str], known: dict[str, click.Option], outer: str = ""
) -> dict[str, tuple[str, object]]:
    """Return the settings in a table of the file for the `known` options of the command that `names` lead to.

    The table is that of `command`. For each key, return its place in the file and its value; inner tables win. Unknown keys
    are refused, and tables of other commands are ignored.
    """
    found, inner, ctx = {}, {}, click.Context(command)
    commands = command.list_commands(ctx) if isinstance(command, click.Group) else []
    for key, value in table.items():
        place = f"{outer}{key}"
        if isinstance(value, dict) and isinstance(command, click.Group) and key in commands:
            if names[:1] == [key] and (its := command.get_command(ctx, key)):
                inner = _settings(value, its, names[1:], known, f"{place}.")
        elif isinstance(value, dict):
            raise InputError("", "there is no such command", _advice(key, commands), place)
        elif key in known:
            found[key] = (place, value)
        elif key not in (others := _options(command)):
            raise InputError("", "there is no such option", _advice(key, others), place)
    return found | inner


def _advice(key: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key, known, 1)
    return f"did you mean {near[0]}?" if near else "leave it out, or see --help"


def _as_given(option: click.Option, place: str, value: object, folder: Path) -> object:
    """Convert a value in the file to what the command line would give; InputError if it has another type."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise InputError("", "is a switch", "write true or false", place)
        return value

    def texts(value: object, depth: int) -> object:
        if depth:
            if not isinstance(value, list):
                raise InputError("", "takes several values", "write a list of them, in brackets", place)
            return [texts(part, depth - 1) for part in value]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InputError("", "takes one value", "write a number, or a text in quotes", place)
        if "\0" in str(value):  # which no command line can have
            raise InputError("", "has a NUL character in it", "take it out", place)
        path = os.path.join(folder, str(value))
        return path if _is_file(option, str(value), path) else str(value)

    return texts(value, option.multiple + (option.nargs != 1))


def _is_file(option: click.Option, text: str, path: str) -> bool:
    """Return whether `text` is the name of a file; if the option takes other words too, whether there is one at `path`."""
    if isinstance(option.type, click.Path):
        return text != "-"
    return not _FILES.isdisjoint((option.metavar or "").split("|")) and os.path.exists(path)


def _toml_lines(ctx: click.Context) -> Iterator[str]:
    """Yield the settings of the context as TOML, with comments for those that aren't set."""
    yield f"# options of {ctx.command_path}, for --config; what has no value isn't set"
    if names := _names(ctx):
        yield f"[{'.'.join(names)}]"
    told: dict[Any, str] = {ParameterSource.COMMANDLINE: "command line", ParameterSource.ENVIRONMENT: "environment"}
    for key, option in _options(ctx.command).items():
        value, source = ctx.params[option.name], ctx.get_parameter_source(option.name)
        if value is None or value == ():
            yield f"# {key} ="
            continue
        origin = ctx.meta[_PLACES][option.name] if source is ParameterSource.DEFAULT_MAP else told.get(source)
        comment = "".join(letter if letter.isprintable() else "?" for letter in f"  # {origin}")
        yield f"{key} = {_toml(option, value)}{comment if origin else ''}"


def _toml(option: click.Option, value: Any) -> str:
    import json

    if isinstance(value, tuple):
        return f"[{', '.join(_toml(option, part) for part in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = os.path.abspath(value) if _is_file(option, str(value), str(value)) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError("", "has a name that isn't Unicode, as TOML has to be", "rename it", text) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
