"""Search by a genetic algorithm (DEAP) over the same spaces. It keeps every trial, like the other search."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from research.errors import InvalidInput
from research.search.space import Space
from research.search.study import Direction, Objective, Record, StudyResult, evaluate_once

if TYPE_CHECKING:
    from deap import base

_BORROWED = threading.Lock()
_TOURNAMENT = 3
_CROSSOVER_PROB = 0.6
_MUTATION_PROB = 0.4
_MUTATION_SCALE = 0.15  # of the width of an axis


def evolve(
    objective: Objective,
    space: Mapping[str, Mapping[str, Any]] | Space,
    *,
    generations: int,
    population: int,
    seed: int,
    direction: Direction = "maximize",
    progress: bool = False,
) -> StudyResult:
    """Search a space with a genetic algorithm that keeps its best individual.

    Individuals are points of the unit cube: uniform crossover (60 % of pairs), Gaussian mutation (40 % of children,
    deviation 15 % of an axis), tournaments of three. Choices have
    no order, yet neighbours among them are likelier to follow each other; for many choices prefer :func:`optimise`.

    Parameters
    ----------
    objective : callable
        ``objective(params)``; returns as for :func:`optimise`. Must draw no numbers from the module ``random``.
    space : mapping or Space
        See :meth:`Space.from_dict`.
    generations : int
        Generations bred after the first population; 0 is a random search.
    population : int
        Individuals, at least 4.
    seed : int
        Seeds all of it.
    direction : str
        ``maximize`` or ``minimize``.
    progress : bool
        Show a bar where there is a terminal or a notebook.

    Returns
    -------
    StudyResult
        One trial per evaluation, with its ``generation``. Individuals carried over unchanged are not evaluated again.

    Raises
    ------
    InvalidInput
        If ``generations`` is negative, ``population`` below 4, ``direction`` unknown, the space malformed (see
        :meth:`Space.from_dict`), or a further figure of the objective has the name of a column of the trials. What the
        objective raises ends the search.

    Notes
    -----
    DEAP draws from the module ``random``. Its state is lent to DEAP while it breeds and put back before the objective
    runs, so that neither sees the other.

    Examples
    --------
    >>> found = evolve(lambda p: -abs(p["x"] - 3), {"x": {"low": 0, "high": 50}}, generations=8, population=12, seed=1)
    >>> found.best_value >= -1.0
    True
    """
    space = space if isinstance(space, Space) else Space.from_dict(space)
    for name, value, low in (("generations", generations, 0), ("population", population, 4)):
        if value < low:
            raise InvalidInput(name, f"must be at least {low}", value)
    if direction not in ("maximize", "minimize"):
        raise InvalidInput("direction", "must be maximize or minimize", direction)
    record = Record(space, direction)
    borrowed = _BorrowedRandom(seed)
    toolbox = _toolbox(len(space.axes), direction)
    with borrowed.lent():
        people = [toolbox.individual() for _ in range(population)]
    _evaluate(people, 0, objective, record)
    for generation in tqdm(range(1, generations + 1), desc="generations", disable=None if progress else True):
        with borrowed.lent():
            people = _breed(people, toolbox)
        _evaluate(people, generation, objective, record)
    return record.result()


@dataclass(slots=True)
class _Toolbox:
    individual: Any
    clone: Any


class _BorrowedRandom:
    """A state of the module ``random`` of its own, in place only while it is lent."""

    def __init__(self, seed: int) -> None:
        self.state = random.Random(seed).getstate()

    @contextmanager
    def lent(self) -> Iterator[None]:
        with _BORROWED:  # searches in other threads breed one after another
            outside = random.getstate()
            random.setstate(self.state)
            try:
                yield
            finally:
                self.state = random.getstate()
                random.setstate(outside)


def _toolbox(n_axes: int, direction: Direction) -> _Toolbox:
    """Return what makes individuals.

    The classes are made here and not by ``deap.creator``, which keeps them in a module and warns when one is remade.
    """
    from copy import deepcopy

    from deap import base

    weight = 1.0 if direction == "maximize" else -1.0
    fitness: type[base.Fitness] = type("SearchFitness", (base.Fitness,), {"weights": (weight,)})

    class Individual(list[float]):
        def __init__(self, genes: list[float]) -> None:
            super().__init__(genes)
            self.fitness = fitness()

    return _Toolbox(individual=lambda: Individual([random.random() for _ in range(n_axes)]), clone=deepcopy)


def _breed(people: list[Any], toolbox: _Toolbox) -> list[Any]:
    """Return the next generation: the best as it is, the rest chosen in tournaments, crossed and mutated."""
    from deap import tools

    best = tools.selBest(people, 1)
    children = [toolbox.clone(parent) for parent in tools.selTournament(people, len(people) - 1, _TOURNAMENT)]
    for left, right in zip(children[::2], children[1::2], strict=False):
        if random.random() < _CROSSOVER_PROB:
            tools.cxUniform(left, right, indpb=0.5)
            del left.fitness.values, right.fitness.values
    for child in children:
        if random.random() < _MUTATION_PROB:
            tools.mutGaussian(child, mu=0.0, sigma=_MUTATION_SCALE, indpb=max(0.2, 1.0 / max(len(child), 1)))
            child[:] = [min(max(gene, 0.0), 1.0) for gene in child]
            del child.fitness.values
    return [toolbox.clone(best[0]), *children]


def _evaluate(people: list[Any], generation: int, objective: Objective, record: Record) -> None:
    for individual in people:
        if not individual.fitness.valid:
            params = record.space.at(list(individual))
            outcome = evaluate_once(objective, params)
            record.add(params, outcome, generation=generation)
            individual.fitness.values = (record.worst if outcome.state == "failed" else outcome.value,)
