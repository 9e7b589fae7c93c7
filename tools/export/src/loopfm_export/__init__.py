"""Writes PyTorch recommenders as loopfm graphs. See ``save``."""

from . import interp
from .errors import ExportError
from .files import read_golden, read_model, write_golden
from .save import Exported, save, save_golden

__all__ = ["ExportError", "Exported", "interp", "read_golden", "read_model", "save", "save_golden", "write_golden"]
__version__ = "0.1.0"
