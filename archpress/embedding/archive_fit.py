"""Fit an embedding to an archive: the stage on its own, as the command ``fit`` runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from archpress.embedding.diagnostics import diagnose
from archpress.embedding.fitting import CHECKPOINT, Example, Fit, split_held_out
from archpress.embedding.settings import CONFIGURATIONS
from archpress.embedding.tokens import why_inexpressible
from archpress.errors import EmbeddingError, SettingsError, nearest
from archpress.evaluation.archive import Archive
from archpress.evaluation.archive_card import main_labels
from archpress.evaluation.shipped import open_archive


def fit_archive(
    archive: Path,
    folder: Path,
    configuration: str = "default",
    iterations: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Fit an embedding to the labels of an archive and save it in ``folder``.

    Args:
        archive: Its most frequent recipe, data and arithmetic give the labels.
        folder: Where embedding, history and checkpoint go; a stopped fit is continued.
        configuration: ``default`` or ``paper``; without unlabelled networks.
        iterations: In place of the configuration's.
        seed: Decides initial weights and batches.
        on_progress: Called with (iterations done, iterations in all).

    Returns:
        How many networks were learned from, how many could not be, and the held-out diagnostics.

    Raises:
        ArchiveError: There is no usable archive.
        EmbeddingError: It has too few labels, or ``folder`` holds an embedding or a run.
        SettingsError: Unknown configuration.
    """
    if configuration not in CONFIGURATIONS:
        hint = nearest(configuration, CONFIGURATIONS)
        raise SettingsError(f"unknown configuration {configuration!r}{hint}")
    if (folder / "run.toml").exists():
        raise EmbeddingError(f"{folder} holds a run: name another folder")
    if (folder / "embedding.json").exists():
        raise EmbeddingError(f"{folder} holds an embedding already: name another folder")
    changes = {"unlabelled": 0} | ({"iterations": iterations} if iterations else {})
    settings = CONFIGURATIONS[configuration].model_copy(update=changes)
    with open_archive(archive) as store:
        everything = labelled_examples(store)
    labelled = [x for x in everything if not why_inexpressible(x.architecture)]
    learned, held_out = split_held_out(labelled, settings.held_out)
    folder.mkdir(parents=True, exist_ok=True)
    embedding = Fit(learned, settings, seed, folder).run(on_progress)
    left_out = len(everything) - len(labelled)
    facts = {
        "labelled": len(learned),
        "left_out": left_out,
        "held_out": diagnose(embedding, held_out),
    }
    embedding.save(folder, facts)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return facts


def labelled_examples(archive: Archive) -> list[Example]:
    """Return the labels by the archive's most frequent recipe, data and arithmetic."""
    found = main_labels(archive)
    if found is None:
        raise EmbeddingError(f"{archive.path} holds no evaluation")
    return [
        Example(label.architecture, label.accuracy)
        for label in found.labels
        if label.accuracy is not None
    ]
