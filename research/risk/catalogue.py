"""The list of sizers. It sizes nothing; a sizer is added by one file and one line here."""

from __future__ import annotations

from research.kernel import KernelSpec
from research.risk import fixed_exposure, volatility_target

SIZERS: dict[str, KernelSpec] = {module.SPEC.name: module.SPEC for module in (fixed_exposure, volatility_target)}
