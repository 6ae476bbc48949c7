"""Strategies: features in, target exposure in [-1, 1] out. They know no money, order or venue."""

from research.strategies.catalogue import STRATEGIES

__all__ = ["STRATEGIES"]
