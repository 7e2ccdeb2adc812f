"""Algorithm 1 from afar: search, then train what was found."""

from archpress.compression.finishing import finish
from archpress.compression.joint.search import JointSearch
from archpress.compression.result import CompressionResult, spent_on_labels
from archpress.compression.run_folder import RunFolder
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Resources


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
    found = JointSearch(settings, task, resources, folder).run()
    with folder.timed("final training"):
        base, compressed = finish(task, found.finalists, resources)
    count, epochs = spent_on_labels(resources.archive, task, found.labelled)
    origin = found.origins.get(compressed.architecture.digest, "labelled for the fit")
    return CompressionResult("archpress", base, compressed, origin, count, epochs, folder.path)
