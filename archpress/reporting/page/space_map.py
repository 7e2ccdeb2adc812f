"""The embedding in two dimensions, by accuracy and by size, with the way to the result."""

from math import log10
from typing import Any

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.embedding.model import Embedding
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import encode
from archpress.embedding.tokens import why_inexpressible as not_jointly
from archpress.embedding.vocabulary import why_inexpressible
from archpress.errors import EmbeddingError
from archpress.reporting.page.markup import missing
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import RED, Plot
from archpress.reporting.run_view import RunView
from archpress.training.machine import one_thread

FEWEST, MOST = 4, 1_500
LAYOUT = {"showlegend": False, "xaxis": {"zeroline": False}, "yaxis": {"zeroline": False}}


def build(view: RunView, networks: Networks) -> str:
    """Return two maps of the labelled networks by the principal axes of their embeddings."""
    known = embedded(view)
    labelled = [label for label in view.labels if label.architecture.digest in known][:MOST]
    if len(labelled) < FEWEST:
        return missing("Too few networks are labelled for a map of the embedding.")
    y = torch.stack([known[label.architecture.digest] for label in labelled])
    axes, share = principal(y)
    places = {digest: (point - y.mean(0)) @ axes for digest, point in known.items()}
    way = _way(view, places)
    accuracies = [round(100 * (label.accuracy or 0.0), 2) for label in labelled]
    sizes = [round(log10(label.parameters), 3) for label in labelled]
    about = f"{len(labelled)} networks by two principal axes, {100 * share:.0f} % of the variance"
    caption = f"{about}; coloured by the accuracy of the label, %{_end(way)}."
    other = f"The same, coloured by log10 of the parameters{_end(way)}."
    flat = [places[label.architecture.digest].tolist() for label in labelled]
    digests = [label.architecture.digest for label in labelled]
    parts = (
        ("space-accuracy", accuracies, "%", caption),
        ("space-size", sizes, "log10 parameters", other),
    )
    return "".join(
        Plot(name, _map(digests, flat, values, unit, way), LAYOUT, said).html()
        for name, values, unit, said in parts
    )


def principal(points: Tensor) -> tuple[Tensor, float]:
    """Return the first two principal axes ``[D, 2]`` of points ``[B, D]``, and their share."""
    _, values, axes = torch.linalg.svd(points - points.mean(0), full_matrices=False)
    variance = values**2
    return axes[:2].T, float(variance[:2].sum() / variance.sum().clamp_min(1e-12))


def _end(way: list[Tensor]) -> str:
    return "; red is the way from where the result goes back to" if way else ""


@one_thread()
def embedded(view: RunView) -> dict[str, Tensor]:
    """Return digest -> y of labelled networks and of the input, in what the run searched in."""
    joint = view.settings.search.method == "joint"
    refused = not_jointly if joint else why_inexpressible
    own = [view.input_network] if view.input_network else []
    networks = [*own, *(label.architecture for label in view.labels)]
    networks = [network for network in networks if not refused(network)]
    if not networks:
        return {}
    try:
        y = _encode_jointly(view, networks) if joint else encode(shipped(), networks)
    except EmbeddingError:
        return {}
    return {network.digest: point.float() for network, point in zip(networks, y, strict=True)}


def _encode_jointly(view: RunView, networks: list[Architecture]) -> Tensor:
    return Embedding.load(view.folder)[0].encode(networks)


def _way(view: RunView, places: dict[str, Tensor]) -> list[Tensor]:
    """Return the points from the network that the result goes back to, to the result."""
    if view.result is None:
        return []
    origins = {row["architecture"]: row.get("origin", "") for row in view.proposals}
    digest: str = view.result["compressed"]["digest"]
    way: list[Tensor] = []
    while digest in places and len(way) < len(origins) + 1:
        way.append(places[digest])
        digest = origins.get(digest, "")
    return way[::-1] if len(way) > 1 else []


def _map(
    digests: list[str],
    flat: list[list[float]],
    values: list[float],
    unit: str,
    way: list[Tensor],
) -> list[dict[str, Any]]:
    across, along = zip(*flat, strict=True)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "markers", "name": "networks", "x": across, "y": along,
            "customdata": digests, "text": values,
            "marker": {"color": values, "colorscale": "Viridis", "size": 7, "showscale": True,
                       "colorbar": {"title": {"text": unit}, "thickness": 12}},
            "hovertemplate": "%{text} " + unit + "<extra></extra>",
        }
    ]  # fmt: skip
    if way:
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": "way to the result",
                "x": [float(point[0]) for point in way], "y": [float(point[1]) for point in way],
                "line": {"color": RED, "width": 2}, "marker": {"size": 6, "color": RED},
            }
        )  # fmt: skip
    return traces
