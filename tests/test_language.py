"""One language: an argument or option has one meaning, type, default and place, whatever function or command takes it."""

import dataclasses
import inspect
from collections import defaultdict
from itertools import combinations

import click
import pytest

import csc_cogd
import csc_cogd.nn
from tests.cli.test_config import COMMANDS

ON_PURPOSE = {  # arguments that differ, and why
    "annotation": {
        "images": "arrays of one size, or a sequence of arrays; labeled ones in csc_cogd.nn",
        "weights": "a sequence where images are one",
        "callback": "hears of iterations, of rounds, of a task's progress, or of epochs",
        "start": "codes for a code solve, a dictionary for learning",
        "recipe": "of training, or of pruning, which holds those of its trainings",
        "epoch": "a number, or the record of one",
        "gain": "blurred counts aren't estimated from",
        "n_filters": "a prior's are all of one size",
        "noise_sigma": "a prior takes a map of them, and doesn't estimate",
        "fill": "a way to fill holes; in augmentation, the value of pixels from outside",
    },
    "default": {
        "sensitivity": "a factor on that of a sensor's defects; from 0 to 1 of dust",
        "n_filters": "a prior's may be those of another",
        "lmbda": "by task",
        "max_iter": "by solver and task",
        "tol": "tasks take a fixed number of iterations",
        "code_iterations": "online, a batch starts without codes",
        "filter_iterations": "online, a batch is seen once",
        "checkpoint_every": "rounds, batches or epochs",
        "batch_size": "crops to learn from, or images to predict or to time",
        "crop": "files in shards may be taken whole",
        "noise_sigma": "inpaint leaves known pixels as they are",
        "dtype": "reconstruct_images computes in that of the codes",
        "gain": "blurred counts aren't estimated from",
        "noise": "blurred images have white noise, or counts",
        "fill": "a way to fill holes; in augmentation, the value of pixels from outside",
    },
    "kind": {
        "fill": "a way to fill holes; in augmentation, the value of pixels from outside",
        "noise_sigma": "denoise(image, 12)",
        "mask": "inpaint(image, mask)",
        "dictionary": "reconstruct(images, dictionary)",
        "cogd": "KernelBacktracking(rule)",
        "device": 'network.to("cuda")',
        "dtype": 'network.to("cuda", "float64")',
    },
}
OPTIONS_ON_PURPOSE = {  # options that mean something else by command, by type, default or help
    "--output", "--noise", "--noise-sigma", "--gain", "--kernel", "--kernel-degree", "--dictionary", "--lmbda",
    "--iterations", "--max-memory", "--start", "--json", "--seed", "--jobs", "--scheduler", "--crop", "--batch-size",
    "--filters", "--filter-size", "--plot", "--steps", "--epochs", "--learning-rate", "--weight-decay", "--keep",
    "--sensitivity", "--polarity", "--prior",
}  # fmt: skip
ORDER = (  # of options that several commands take
    "--output", "--recursive", "--files-from", "--axes", "--suffix", "--skip-existing", "--fail-fast", "--jobs",
    "--scheduler", "--report", "--reference", "--fast", "--best", "--dictionary", "--prior", "--filters", "--filter-size",
    "--lmbda", "--iterations", "--tol", "--tile", "--max-memory", "--dry-run", "--seed", "--resume", "--checkpoint",
    "--device", "--dtype", "--threads", "--fft", "--quiet", "--verbose", "--config", "--print-config",
)  # fmt: skip


def public_functions():
    """Functions, methods and classes that aren't mere records, with their parameters, by their names."""
    for module in (csc_cogd, csc_cogd.nn):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                yield name, inspect.signature(value).parameters.values()
            if not inspect.isclass(value) or issubclass(value, Exception):
                continue
            if not dataclasses.is_dataclass(value) and not hasattr(value, "_fields"):
                yield name, inspect.signature(value).parameters.values()
            for key, member in vars(value).items():
                function = getattr(member, "__func__", member)
                if inspect.isfunction(function) and not key.startswith("_"):
                    yield f"{name}.{key}", inspect.signature(function).parameters.values()


def form(argument, what):
    """What is compared of an argument; None where it has nothing to compare: whether it may be left out is its own."""
    if argument.kind is argument.VAR_KEYWORD:
        return None
    if what == "annotation":
        return str(argument.annotation).removesuffix(" | None")
    given = argument.default is not argument.empty
    return str(getattr(argument, what)) if given else None


@pytest.mark.parametrize("what", ON_PURPOSE)
def test_one_argument_means_one_thing(what):
    found = defaultdict(lambda: defaultdict(list))
    for function, arguments in public_functions():
        for argument in arguments:
            if form(argument, what) is not None:
                found[argument.name][form(argument, what)].append(function)
    differing = {name: dict(forms) for name, forms in found.items() if len(forms) > 1}
    assert {name: forms for name, forms in differing.items() if name not in ON_PURPOSE[what]} == {}
    assert ON_PURPOSE[what].keys() <= differing.keys()


def test_arguments_stand_in_one_order():
    orders = defaultdict(dict)
    for function, arguments in public_functions():
        names = [argument.name for argument in arguments if argument.kind == argument.KEYWORD_ONLY]
        for pair in combinations(names, 2):
            orders[frozenset(pair)].setdefault(pair, function)
    assert [order for order in orders.values() if len(order) > 1] == []


def test_one_option_means_one_thing():
    meanings = defaultdict(set)
    for _, command in COMMANDS:
        for option in command.params:
            for name in option.opts if isinstance(option, click.Option) else ():
                meanings[name].add((repr(option.type), repr(option.default), option.help))
    assert {name for name, found in meanings.items() if len(found) > 1 and name.startswith("--")} == OPTIONS_ON_PURPOSE


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_options_stand_in_one_order_and_have_one_short_name(path, command):
    options = [option for option in command.params if isinstance(option, click.Option)]
    places = [ORDER.index(option.opts[-1]) for option in options if option.opts[-1] in ORDER]
    assert places == sorted(places)
    short = {"--output": "-o", "--mask": "-m", "--jobs": "-j", "--recursive": "-r", "--quiet": "-q", "--verbose": "-v"}
    for option in options:
        assert short.get(option.opts[-1], option.opts[0]) == option.opts[0]
