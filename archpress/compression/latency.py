"""Latency inside a search: predicted for many networks, measured for the few that matter."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import DepthwiseConvolution
from archpress.architectures.spaces import RejectedDrawError, Space
from archpress.compression.reachable import small_networks
from archpress.errors import RunFolderError
from archpress.files import write_json
from archpress.training.latency import Conditions, Timing

Measure = Callable[[Architecture], Timing]

FOLDS = 5
MOST_DRAWS = 2_000


@dataclass(frozen=True)
class LatencyModel:
    """Predicts milliseconds, linear in what a forward pass consists of.

    Attributes:
        coefficients: Milliseconds in themselves; per layer, per MAC, per MAC of depthwise
            convolutions, per element of activations and per parameter; none negative.
        spread: Typical error as a factor on networks that it was not fitted to.
        fitted_to: Networks that it was fitted to.
    """

    coefficients: tuple[float, ...]
    spread: float
    fitted_to: int

    def predict(self, network: Architecture) -> float:
        """Return the predicted milliseconds."""
        return float(_features(network) @ np.array(self.coefficients))


def fit(networks: Sequence[Architecture], milliseconds: Sequence[float]) -> LatencyModel:
    """Return the model with the least relative errors; its spread is cross-validated."""
    features, measured = np.array([_features(n) for n in networks]), np.array(milliseconds)
    errors = []
    for fold in range(FOLDS):
        out = np.arange(len(measured)) % FOLDS == fold
        predicted = features[out] @ _coefficients(features[~out], measured[~out])
        errors += np.log(np.maximum(predicted, 1e-9) / measured[out]).tolist()
    spread = math.exp(math.sqrt(sum(e * e for e in errors) / len(errors)))
    coefficients = _coefficients(features, measured)
    return LatencyModel(tuple(coefficients.tolist()), spread, len(measured))


def _features(network: Architecture) -> NDArray[np.float64]:
    pairs = list(zip(network.layers, network.shapes, strict=False))
    depthwise = sum(x.macs(s) for x, s in pairs if isinstance(x, DepthwiseConvolution))
    elements = sum(math.prod(shape) for shape in network.shapes)
    cost = network.cost
    dense = cost.macs - depthwise
    return np.array([1.0, len(pairs), dense, depthwise, elements, cost.parameters], np.float64)


def _coefficients(
    features: NDArray[np.float64], measured: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.optimize import nnls

    relative = features / measured[:, None]
    scale = np.maximum(relative.max(0), 1e-12)
    found: NDArray[np.float64] = nnls(relative / scale, np.ones(len(measured)))[0] / scale
    return found


class DeviceLatency:
    """Tells the latency of networks on this device: what was measured, else what is predicted.

    Args:
        model: Predicts what was not measured.
        conditions: Under which conditions.
        measure: Measures one network.
        timings: What was measured already, by digest.
    """

    def __init__(
        self,
        model: LatencyModel,
        conditions: Conditions,
        measure: Measure,
        timings: dict[str, Timing],
    ) -> None:
        self.model, self.conditions = model, conditions
        self._measure, self.timings = measure, dict(timings)
        self._file: Path | None = None

    def __call__(self, network: Architecture) -> float:
        """Return milliseconds, predicted where the network was not measured."""
        known = self.timings.get(network.digest)
        return known.median if known else self.model.predict(network)

    def measure(self, network: Architecture) -> float:
        """Return milliseconds, measured once."""
        if network.digest not in self.timings:
            self.timings[network.digest] = self._measure(network)
            self._write()
        return self.timings[network.digest].median

    def keep_in(self, file: Path) -> None:
        """Write down what is known, and all that will be measured."""
        self._file = file
        self._write()

    def _write(self) -> None:
        if self._file is not None:
            write_json(self._file, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return conditions, predictor and timings."""
        return {
            "conditions": asdict(self.conditions),
            "predictor": asdict(self.model),
            "timings": {digest: asdict(timing) for digest, timing in self.timings.items()},
        }

    def described(self, network: Architecture) -> str:
        """Return the latency of a network and how good predictions are, in words."""
        self.measure(network)
        timing = self.timings[network.digest]
        return (
            f"a forward pass takes {timing.median:.3g} ms ({timing.low:.3g} to {timing.high:.3g}, "
            f"{timing.repeats} repeats; {self.conditions}); predictions for other networks err by "
            f"a factor of {self.model.spread:.2f}, from {self.model.fitted_to} measured"
        )


def fitted_latency(
    network: Architecture, space: Space, count: int, conditions: Conditions, measure: Measure
) -> DeviceLatency:
    """Measure an input network and ``count`` others, and return what tells latency from then on.

    Half of the others are drawn from the space as it is, half are small ones.
    """
    small = small_networks(space)
    several = small[:: max(1, len(small) // max(1, count // 2))][: count // 2]
    networks = [network, *several, *_drawn(space, count - len(several))]
    timings = {each.digest: measure(each) for each in networks}
    model = fit(networks, [timings[each.digest].median for each in networks])
    return DeviceLatency(model, conditions, measure, timings)


def _drawn(space: Space, count: int) -> list[Architecture]:
    generator = torch.Generator().manual_seed(0)
    found: list[Architecture] = []
    for _ in range(MOST_DRAWS):
        try:
            drawn = space.draw(generator, Counter())
        except RejectedDrawError:
            continue
        if space.limits.violation(drawn.cost) is None:
            found.append(drawn)
        if len(found) >= count:
            break
    return found


def read_latency(file: Path, measure: Measure) -> DeviceLatency:
    """Return what :meth:`DeviceLatency.keep_in` wrote.

    Raises:
        RunFolderError: The file is damaged.
    """
    try:
        record = json.loads(file.read_text())
        fields = record["predictor"]
        model = LatencyModel(**{**fields, "coefficients": tuple(fields["coefficients"])})
        timings = {digest: Timing(**each) for digest, each in record["timings"].items()}
        return DeviceLatency(model, Conditions(**record["conditions"]), measure, timings)
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{file} is damaged ({type(error).__name__}: {error}): delete it, and latency is "
            f"measured anew"
        ) from error
