"""csc-cogd: restore damaged pictures and scientific images by convolutional sparse coding.

The public names are imported on first use, so that ``import csc_cogd`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_cogd.lazy import lazy_attributes

__version__ = "0.1.0"

if TYPE_CHECKING:
    from csc_cogd.batch.batch import restore_batch as restore_batch
    from csc_cogd.batch.cluster_learning import shard_mapper as shard_mapper
    from csc_cogd.batch.jobs import Result as Result
    from csc_cogd.cogd.rule import CogradientRule as CogradientRule
    from csc_cogd.csc.alternation import OuterIteration as OuterIteration
    from csc_cogd.csc.codes import SparseCodes as SparseCodes
    from csc_cogd.csc.codes import lambda_max as lambda_max
    from csc_cogd.csc.codes import reconstruct_images as reconstruct_images
    from csc_cogd.csc.codes import sparse_code as sparse_code
    from csc_cogd.csc.codes_file import load_codes as load_codes
    from csc_cogd.csc.codes_file import save_codes as save_codes
    from csc_cogd.csc.consensus import learn_dictionary_consensus as learn_dictionary_consensus
    from csc_cogd.csc.debias import debias as debias
    from csc_cogd.csc.dictionary import Dictionary as Dictionary
    from csc_cogd.csc.filters import solve_filters as solve_filters
    from csc_cogd.csc.iteration import Iteration as Iteration
    from csc_cogd.csc.learner import ConvolutionalDictionaryLearner as ConvolutionalDictionaryLearner
    from csc_cogd.csc.learning import LearnedDictionary as LearnedDictionary
    from csc_cogd.csc.learning import learn_dictionary as learn_dictionary
    from csc_cogd.csc.online import learn_dictionary_online as learn_dictionary_online
    from csc_cogd.detect.detect import Detection as Detection
    from csc_cogd.detect.detect import detect_damage as detect_damage
    from csc_cogd.engine import Engine as Engine
    from csc_cogd.errors import CscCogdError as CscCogdError
    from csc_cogd.errors import DeviceError as DeviceError
    from csc_cogd.errors import InputError as InputError
    from csc_cogd.learning.learn import learn_from_files as learn_from_files
    from csc_cogd.learning.learn import learn_from_images as learn_from_images
    from csc_cogd.learning.reconstruct import Quality as Quality
    from csc_cogd.learning.reconstruct import Reconstruction as Reconstruction
    from csc_cogd.learning.reconstruct import reconstruct as reconstruct
    from csc_cogd.report.metrics import psnr as psnr
    from csc_cogd.report.metrics import ssim as ssim
    from csc_cogd.restore.deblur import deblur as deblur
    from csc_cogd.restore.denoise import denoise as denoise
    from csc_cogd.restore.inpaint import inpaint as inpaint
    from csc_cogd.restore.operators import Blur as Blur
    from csc_cogd.restore.operators import Decimation as Decimation
    from csc_cogd.restore.report import Progress as Progress
    from csc_cogd.restore.report import RestorationReport as RestorationReport
    from csc_cogd.restore.restore_image import restore_image as restore_image
    from csc_cogd.restore.settings import Solve as Solve
    from csc_cogd.restore.settings import Tiling as Tiling
    from csc_cogd.restore.upscale import upscale as upscale

_HOMES = {
    "Dictionary": "csc.dictionary",
    "sparse_code": "csc.codes",
    "SparseCodes": "csc.codes",
    "lambda_max": "csc.codes",
    "reconstruct_images": "csc.codes",
    "learn_dictionary": "csc.learning",
    "LearnedDictionary": "csc.learning",
    "ConvolutionalDictionaryLearner": "csc.learner",
    "learn_dictionary_online": "csc.online",
    "learn_dictionary_consensus": "csc.consensus",
    "CogradientRule": "cogd.rule",
    "solve_filters": "csc.filters",
    "debias": "csc.debias",
    "save_codes": "csc.codes_file",
    "load_codes": "csc.codes_file",
    "inpaint": "restore.inpaint",
    "denoise": "restore.denoise",
    "detect_damage": "detect.detect",
    "deblur": "restore.deblur",
    "upscale": "restore.upscale",
    "restore_image": "restore.restore_image",
    "Engine": "engine",
    "Solve": "restore.settings",
    "Tiling": "restore.settings",
    "Blur": "restore.operators",
    "Decimation": "restore.operators",
    "reconstruct": "learning.reconstruct",
    "Reconstruction": "learning.reconstruct",
    "shard_mapper": "batch.cluster_learning",
    "learn_from_files": "learning.learn",
    "learn_from_images": "learning.learn",
    "restore_batch": "batch.batch",
    "psnr": "report.metrics",
    "ssim": "report.metrics",
    "Detection": "detect.detect",
    "Iteration": "csc.iteration",
    "Progress": "restore.report",
    "Quality": "learning.reconstruct",
    "RestorationReport": "restore.report",
    "Result": "batch.jobs",
    "OuterIteration": "csc.alternation",
    "CscCogdError": "errors",
    "InputError": "errors",
    "DeviceError": "errors",
}
__all__ = ["__version__", *sorted(_HOMES)]
__getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
