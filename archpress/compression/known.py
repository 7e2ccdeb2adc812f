"""What a run knows before it begins: runs of other archives, and which its archive held already."""

import json
import shutil
from pathlib import Path

from archpress.compression.run_folder import LEDGER, RunFolder
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import RunFolderError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import LEARNED_NOTHING
from archpress.evaluation.shipped import open_archive
from archpress.files import write_json

KNOWN, ADOPTED = "known.json", "adopted.json"
"""Keys of the runs that the archive held when the run began; of those taken over at any time."""


def adopt(known: Path, task: CompressionTask, resources: Resources) -> str:
    """Take over the runs of another run's archive, and their weights, which lie beside it.

    Only what this run would make itself is taken: on the same data and split, in the same
    arithmetic. Runs that found no memory or no time are left behind, since here they may.

    Returns in words how much that was.

    Raises:
        ArchiveError: There is no usable archive.
    """
    with open_archive(known) as other:
        theirs = list(other)
    ours = resources.executor.arithmetic
    taken = [
        run for run in theirs
        if run.data_digest == task.data.digest
        and run.arithmetic == ours
        and run.status in ("ok", *LEARNED_NOTHING)
    ]  # fmt: skip
    new = {run.key for run in taken} - {run.key for run in resources.archive}
    file = resources.folder / ADOPTED
    write_json(file, sorted(new.union(read_known(file) if file.exists() else ())))
    resources.archive.merge(taken)
    folder = resources.folder / "weights"
    folder.mkdir(exist_ok=True)
    for name in (f"{run.key}.safetensors" for run in taken):
        weights = known.parent / "weights" / name
        if weights.exists() and not (folder / name).exists():
            shutil.copyfile(weights, folder / f"{name}.part")
            (folder / f"{name}.part").replace(folder / name)
    labels = sum(run.recipe.digest == task.label_recipe.digest for run in taken)
    return (
        f"{len(taken)} of {len(theirs)} runs taken over from {known}, those on this data and split "
        f"of it, in {ours}; {labels} of them are labels by this run's recipe"
    )


def known_at_start(archive: Archive, folder: RunFolder) -> frozenset[str]:
    """Return the keys of the runs that the archive held when the run began.

    They are written down, so that a run that is continued knows no more.
    """
    file = folder.path / KNOWN
    if not file.exists():
        begun = (folder.path / LEDGER).exists()  # by a version that kept no such list
        folder.write_json(KNOWN, [] if begun else sorted(run.key for run in archive))
    return frozenset(read_known(file))


def costless(folder: Path) -> frozenset[str]:
    """Return the keys of the runs that cost the run in a folder nothing.

    What its archive held when it began, and what was taken over later, when it was continued.
    """
    files = [file for name in (KNOWN, ADOPTED) if (file := folder / name).exists()]
    return frozenset(key for file in files for key in read_known(file))


def read_known(path: Path) -> list[str]:
    """Return the keys of runs that a list in a run folder names.

    Raises:
        RunFolderError: The file is damaged.
    """
    try:
        kept = json.loads(path.read_text())
    except ValueError:
        kept = None
    if not isinstance(kept, list) or not all(isinstance(key, str) for key in kept):
        raise RunFolderError(
            f"{path} is damaged: expected a JSON list of run keys; put a copy back, or begin anew "
            f"in another folder with this one's archive as --archive"
        )
    return kept
