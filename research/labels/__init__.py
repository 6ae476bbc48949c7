"""Labels: what a model is taught. They look forward, so nothing that runs live may import them."""

from research.labels.forward import forward_return, label_end, scaled_forward_return

__all__ = ["forward_return", "label_end", "scaled_forward_return"]
