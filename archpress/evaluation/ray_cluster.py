"""Starting Ray on this machine, or joining a cluster that runs."""

import logging
import os
import socket
from typing import Any

from archpress.datasets.dataset import DataSet
from archpress.errors import ArchpressError
from archpress.evaluation.executors import available_cores

CONNECT_SECONDS = 10.0
STORE_BYTES = 256 << 20


def join(ray: Any, address: str | None, workers: int | None, data: DataSet) -> None:
    """Start Ray on this machine, or connect to a cluster.

    Raises:
        ArchpressError: It does not start, or there is no cluster of this Ray at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            cores = workers or available_cores()
            room = STORE_BYTES + 2 * _bytes(data)
            ray.init(
                "local", num_cpus=cores, include_dashboard=False, object_store_memory=room, **quiet
            )
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        where = "on this machine" if address is None else f"at {address}"
        cause = " ".join(str(error).split())
        if "Authentication" in str(error.__cause__ or error.__context__):
            cause += "; it wants a token, see RAY_AUTH_MODE in the documentation of Ray"
        raise ArchpressError(
            f"expected a Ray cluster {where}, received an error ({cause}): start one with "
            "'ray start --head --port=6379' and give its HOST:6379, or 'auto' on one of them"
        ) from error


def _bytes(data: DataSet) -> int:
    return sum(part.images.nbytes + part.labels.nbytes for part in (data.train, data.validation))


def _knock(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    if not port.isdigit():
        raise ValueError(f"{address} is not HOST:PORT")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
