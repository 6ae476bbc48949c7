"""Labels: what a model is taught. They look forward, so nothing that runs live may import them."""

from research.labels.barriers import (
    label_uniqueness,
    sequential_bootstrap,
    sequential_probabilities,
    triple_barrier,
)
from research.labels.forward import forward_return, label_end, scaled_forward_return

__all__ = [
    "forward_return",
    "label_end",
    "label_uniqueness",
    "scaled_forward_return",
    "sequential_bootstrap",
    "sequential_probabilities",
    "triple_barrier",
]
