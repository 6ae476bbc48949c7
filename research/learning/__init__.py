"""Learning: datasets and the models fitted on them. Nothing here runs live; see research.predictor."""

from research.learning.dataset import Dataset, make_dataset
from research.learning.lightgbm_model import fit_lightgbm, importance

__all__ = ["Dataset", "fit_lightgbm", "importance", "make_dataset"]
