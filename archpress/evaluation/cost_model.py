"""What labels cost, before they are made."""

from archpress.evaluation.record import Job


def expected_work(job: Job) -> int:
    """Return what a job costs, in multiply-accumulates of its forward passes over the images.

    A step costs time whatever its network does; 1.5 million MACs per image are assumed for it.
    """
    return (job.architecture.cost.macs + 1_500_000) * job.recipe.epochs
