"""Search: spaces, Optuna and a genetic algorithm. Both libraries are imported when a search starts."""

from research.search.evolve import evolve
from research.search.space import Space
from research.search.study import StudyResult, optimise

__all__ = ["Space", "StudyResult", "evolve", "optimise"]
