"""Regularised evolution on labels: tournaments, small changes, and the oldest dies.

Real et al. (2019), "Regularized evolution for image classifier architecture search"; children are
labelled a few at a time. Population and tournament are for some hundred labels, not for 20,000.
"""

from collections import deque

import torch

from archpress.architectures.architecture import Architecture
from archpress.baselines.labelled_search import BATCH, Asked, compressed, searched
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.record import Label

SEED_OFFSET = 4_000_000
POPULATION, TOURNAMENT = 20, 5


def search(task: CompressionTask, resources: Resources) -> Searched:
    """Return the best of ``task.labels`` networks that evolution comes upon."""
    return searched(task, resources, evolve, SEED_OFFSET)


def evolve(asked: Asked) -> None:
    """Ask for labels: of a random population, then of children of the winners of tournaments."""
    population = deque(asked.label(asked.drawn(POPULATION)), maxlen=POPULATION)
    while asked.left and population:
        children: dict[Architecture, None] = {}
        for _ in range(BATCH):
            for child in asked.changed(_winner(population, asked).architecture, 1):
                children.setdefault(child)
        born = asked.label(children) or asked.label(asked.drawn(BATCH))
        if not born:
            return
        population.extend(born)  # and as many of the oldest are gone


def _winner(population: deque[Label], asked: Asked) -> Label:
    order = torch.randperm(len(population), generator=asked.generator)[:TOURNAMENT]
    return max((population[place] for place in order.tolist()), key=asked.worth)


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that evolution ends in, trained finally as every method's."""
    found = search(task, resources)
    return compressed("evolution", "regularised evolution", found, task, resources)
