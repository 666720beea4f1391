"""The public names, and the modules that they are imported from on first use."""

__version__: str

from .batch.batch import restore_batch as restore_batch
from .batch.cluster_learning import shard_mapper as shard_mapper
from .batch.jobs import Result as Result
from .cogd.rule import CogradientRule as CogradientRule
from .csc.alternation import OuterIteration as OuterIteration
from .csc.codes import SparseCodes as SparseCodes
from .csc.codes import lambda_max as lambda_max
from .csc.codes import reconstruct_images as reconstruct_images
from .csc.codes import sparse_code as sparse_code
from .csc.codes_file import load_codes as load_codes
from .csc.codes_file import save_codes as save_codes
from .csc.consensus import learn_dictionary_consensus as learn_dictionary_consensus
from .csc.debias import debias as debias
from .csc.dictionary import Dictionary as Dictionary
from .csc.filters import solve_filters as solve_filters
from .csc.iteration import Iteration as Iteration
from .csc.learner import ConvolutionalDictionaryLearner as ConvolutionalDictionaryLearner
from .csc.learning import LearnedDictionary as LearnedDictionary
from .csc.learning import learn_dictionary as learn_dictionary
from .csc.online import learn_dictionary_online as learn_dictionary_online
from .detect.detect import Detection as Detection
from .detect.detect import detect_damage as detect_damage
from .engine import Engine as Engine
from .errors import CscCogdError as CscCogdError
from .errors import DeviceError as DeviceError
from .errors import InputError as InputError
from .learning.learn import learn_from_files as learn_from_files
from .learning.learn import learn_from_images as learn_from_images
from .learning.reconstruct import Quality as Quality
from .learning.reconstruct import Reconstruction as Reconstruction
from .learning.reconstruct import reconstruct as reconstruct
from .report.metrics import psnr as psnr
from .report.metrics import ssim as ssim
from .restore.deblur import deblur as deblur
from .restore.denoise import denoise as denoise
from .restore.inpaint import inpaint as inpaint
from .restore.operators import Blur as Blur
from .restore.operators import Decimation as Decimation
from .restore.report import Progress as Progress
from .restore.report import RestorationReport as RestorationReport
from .restore.restore_image import restore_image as restore_image
from .restore.settings import Solve as Solve
from .restore.settings import Tiling as Tiling
from .restore.upscale import upscale as upscale
