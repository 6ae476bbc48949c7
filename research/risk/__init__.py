"""Risk: target exposure in, sized exposure out. It knows no order or venue."""

from research.risk.catalogue import SIZERS
from research.risk.exits import Exits

__all__ = ["SIZERS", "Exits"]
