"""Algorithm 1 from afar: search, then train what was found."""

from archpress.compression.finishing import finish
from archpress.compression.guided.search import GuidedSearch
from archpress.compression.joint.search import JointSearch
from archpress.compression.known import costless, known_at_start
from archpress.compression.result import CompressionResult
from archpress.compression.run_folder import RunFolder
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Resources

UNPROPOSED = "labelled before the search proposed any"


def compress(
    settings: RunSettings, task: CompressionTask, resources: Resources, folder: RunFolder
) -> CompressionResult:
    """Return the compressed network, trained; continues where an earlier call was stopped.

    Args:
        settings: The run's settings.
        task: What to compress, on what, within which budget.
        resources: Archive, executor and run folder.
        folder: The run folder, to write in.
    """
    known_at_start(resources.archive, folder)  # writes it down, before anything is labelled
    guided = settings.search.method == "guided"
    search = (GuidedSearch if guided else JointSearch)(settings, task, resources, folder)
    found = search.run()
    with folder.timed("final training"):
        base, compressed = finish(task, found.finalists, resources)
    count, epochs = found.spent(costless(folder.path))
    origin = found.origins.get(compressed.architecture.digest, UNPROPOSED)
    return CompressionResult("archpress", base, compressed, origin, count, epochs, folder.path)
