"""What an archive holds, summed up by data set and recipe."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Label


@dataclass
class Holding:
    """The runs of one recipe on one data set.

    Attributes:
        data: Digest of the data set.
        recipe: Digest of the recipe.
        recipe_name: Its name, of the first run.
        networks: Networks with a run.
        runs: Runs, failed ones too.
        statuses: Runs by status.
        epochs: Epochs trained in all.
        seconds: Wall time of all runs, added up.
        accuracies: Lowest and highest validation accuracy, in [0, 1]; None where no run has one.
    """

    data: str
    recipe: str
    recipe_name: str
    networks: int = 0
    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    epochs: int = 0
    seconds: float = 0.0
    accuracies: tuple[float, float] | None = None

    def count(self, record: dict[str, Any]) -> None:
        """Add one run."""
        self.runs += 1
        self.statuses[record["status"]] += 1
        self.epochs += len(record["losses"])
        self.seconds += record["seconds"]
        accuracy = record["validation_accuracy"]
        if accuracy is not None:
            low, high = self.accuracies or (accuracy, accuracy)
            self.accuracies = (min(low, accuracy), max(high, accuracy))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {**vars(self), "statuses": dict(self.statuses)}


def holdings(archive: Archive) -> list[Holding]:
    """Return what an archive holds, by data set and recipe, the most runs first.

    Raises:
        ArchiveError: A record is damaged or of a newer version.
    """
    found: dict[tuple[str, str], Holding] = {}
    networks: dict[tuple[str, str], set[str]] = {}
    for record in archive.records():
        try:
            network, recipe, _, data = record["key"].split("-", 3)
            group = data, recipe
            holding = found.setdefault(group, Holding(data, recipe, record["recipe"]["name"]))
            networks.setdefault(group, set()).add(network)
            holding.count(record)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ArchiveError(
                f"{archive.path} holds a record that is none ({error!r}): see archive verify"
            ) from error
    for group, holding in found.items():
        holding.networks = len(networks[group])
    return sorted(found.values(), key=lambda holding: (-holding.runs, holding.recipe_name))


def runs_of_network(archive: Archive, prefix: str) -> list[Evaluation]:
    """Return the runs of the one network whose digest begins so, in order of key.

    Raises:
        ArchiveError: No network's digest begins so, or several do.
    """
    found = archive.networks(prefix)
    if len(found) > 1:
        raise ArchiveError(
            f"{archive.path} holds {len(found):,} networks whose digests begin with {prefix!r}: "
            f"type more of the one that is meant, such as {found[0]}"
        )
    if not found:
        raise ArchiveError(
            f"{archive.path} holds no network whose digest begins with {prefix!r}"
            f"{_nearest(archive, prefix)}"
        )
    return list(archive.starting_with(f"{found[0]}-"))


def _nearest(archive: Archive, prefix: str) -> str:
    """Return a hint: the network that agrees with the most of the first digits."""
    if not len(archive):
        return ": it is empty"
    while not (found := archive.networks(prefix)):
        prefix = prefix[:-1]
    return f"; the nearest is {found[0]}"


def labels_by_recipe(runs: Iterable[Evaluation]) -> list[Label]:
    """Return a label for each data set and recipe among the runs of one network."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for run in runs:
        groups.setdefault((run.data_digest, run.recipe.digest), []).append(run)
    return [Label.of(group) for group in groups.values()]
