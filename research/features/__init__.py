"""Causal features: the catalogue, and sets of them over blocks or bar by bar. It holds no label."""

from research.features.assemble import Assembler, assemble
from research.features.catalogue import CATALOGUE, FAMILIES
from research.features.feature_set import FeatureSet
from research.features.feature_stream import FeatureStream
from research.features.inputs import INPUTS, Input

__all__ = ["CATALOGUE", "FAMILIES", "INPUTS", "Assembler", "FeatureSet", "FeatureStream", "Input", "assemble"]
