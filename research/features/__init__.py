"""Causal features: the catalogue, and sets of them over blocks or bar by bar. It holds no label."""

from research.features.catalogue import CATALOGUE
from research.features.feature_set import FeatureSet
from research.features.feature_stream import FeatureStream

__all__ = ["CATALOGUE", "FeatureSet", "FeatureStream"]
