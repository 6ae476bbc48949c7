"""Risk: target exposure in, sized exposure out. It knows no order or venue."""

from research.risk.catalogue import SIZERS

__all__ = ["SIZERS"]
