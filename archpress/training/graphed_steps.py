"""Training steps for a GPU: whole steps captured in CUDA graphs, several to a replay.

Small networks keep a GPU waiting for launches. Here everything that a step does (making the batch,
forward, loss, backward, AdamW, storing the loss) is captured once and then replayed by one launch.
For that, all a step reads or writes lies in fixed places on the device: numbers of the images, a
step counter, a table of learning rates, the losses.

**Not yet measured, nor run, on a GPU.** Where there is none, or capture is off, the same functions
are called instead of replayed; so all but the capture itself is tested on CPUs.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from archpress.training.steps import Learning, reproducible_cudnn

WARM_UP_STEPS = 1
"""One makes all that is made on first use: library handles, kernels, the optimiser's state."""


@dataclass(frozen=True)
class Graphing:
    """How steps are captured; changes no number.

    Attributes:
        steps_per_replay: More save launches and take longer to capture.
        capture: Whether to capture at all, on a GPU.
    """

    steps_per_replay: int = 4
    capture: bool = True


class GraphedSteps:
    """Steps that a GPU replays; they run in the current stream of whoever calls.

    The first call makes a warm-up step on a side stream and undoes all it did: weights, BatchNorm
    statistics, optimiser state, counter, losses, generator. The graphs of one training share a
    memory pool, since they never run at the same time; trainings share nothing, since they may.

    Args:
        learning: What to train. Its generator is registered with every graph, so that each replay
            goes on where the last one stopped, whatever runs beside.
        graphing: How to capture.

    Attributes:
        set_up_seconds: Wall time of warm-up and captures so far.
    """

    def __init__(self, learning: Learning, graphing: Graphing | None = None) -> None:
        self.set_up_seconds = 0.0
        self._learning = learning
        self._graphing = graphing or Graphing()
        device = learning.generator.device
        self._device = device
        total = learning.recipe.epochs * learning.steps_per_epoch
        rates = [learning.rate(step) for step in range(total)]
        self._rates = torch.tensor(rates, dtype=torch.float32, device=device)
        self._losses = torch.zeros(total, device=device)
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)
        self._chosen: Tensor | None = None
        self._queued = 0
        self._optimizer = torch.optim.AdamW(
            learning.network.parameters(), weight_decay=learning.recipe.weight_decay,
            fused=True, capturable=True,
        )  # fmt: skip
        self._rate = torch.zeros((), device=device)
        self._optimizer.param_groups[0]["lr"] = self._rate
        self._stream = _side_stream(device)
        self._pool = torch.cuda.graph_pool_handle() if self._captures else None
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @property
    def _captures(self) -> bool:
        return self._graphing.capture and self._device.type == "cuda"

    def run(self, batches: Tensor) -> Tensor:
        """Make a step per row of ``batches``, numbers of images ``[S, B]``; return losses ``[S]``.

        Whole replays first, then the remainder step by step, by a second graph.
        """
        if self._chosen is None:
            self._warm_up(batches[0])
        many, start = self._graphing.steps_per_replay, self._queued
        whole = len(batches) - len(batches) % many
        for first in range(0, whole, many):
            self._replay(batches[first : first + many])
        for first in range(whole, len(batches)):
            self._replay(batches[first : first + 1])
        return self._losses[start : self._queued]

    def _replay(self, batches: Tensor) -> None:
        assert self._chosen is not None
        count = len(batches)
        self._chosen[:count].copy_(batches)
        if not self._captures:
            self._steps(count)
        else:
            if count not in self._graphs:
                self._graphs[count] = self._captured(count)
            self._graphs[count].replay()
        self._queued += count

    def _captured(self, count: int) -> torch.cuda.CUDAGraph:
        start = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._learning.generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            self._steps(count)
        self._optimizer.zero_grad(set_to_none=True)  # they lie in the graph's pool, made anew
        self.set_up_seconds += time.perf_counter() - start
        return graph

    def _steps(self, count: int) -> None:
        assert self._chosen is not None
        kind = self._device.type
        # A weight that one graph cast must not be taken for cast by another: no autocast cache.
        with reproducible_cudnn(), torch.autocast(kind, enabled=False, cache_enabled=False):
            for row in range(count):
                self._step(self._chosen[row])

    def _step(self, chosen: Tensor) -> None:
        """Make one step; nothing in it may ask the device for a value, or choose by one."""
        self._rate.copy_(self._rates.index_select(0, self._counter).view(()))
        loss = self._learning.loss_of(chosen)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._losses.index_copy_(0, self._counter, loss.detach().view(1))
        self._counter.add_(1)

    def _warm_up(self, chosen: Tensor) -> None:
        start = time.perf_counter()
        rows = self._graphing.steps_per_replay
        self._chosen = chosen.expand(rows, -1).clone()
        with _aside(self._stream), self._undone():
            for _ in range(WARM_UP_STEPS):
                self._counter.zero_()
                self._steps(1)
        self.set_up_seconds += time.perf_counter() - start

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo, in place, whatever steps do within."""
        network, generator = self._learning.network, self._learning.generator
        state = [t.detach() for t in (*network.parameters(), *network.buffers())]
        before, drawn = [t.clone() for t in state], generator.get_state()
        yield
        for tensor, old in zip(state, before, strict=True):
            tensor.copy_(old)
        moments = [t for of_one in self._optimizer.state.values() for t in of_one.values()]
        for tensor in (*moments, self._losses, self._counter):
            tensor.zero_()
        generator.set_state(drawn)


def _side_stream(device: torch.device) -> "torch.cuda.Stream | None":
    """Return the current stream of a GPU, or another where that is the default one."""
    if device.type != "cuda":
        return None
    # Read when cuBLAS starts: with several streams its sums repeat only in fixed workspaces.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    current = torch.cuda.current_stream(device)
    return torch.cuda.Stream(device) if current == torch.cuda.default_stream(device) else current


@contextmanager
def _aside(stream: "torch.cuda.Stream | None") -> Iterator[None]:
    """Run within in ``stream``, after all that was queued and before all that will be."""
    if stream is None:
        yield
        return
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def on_stream(stream: "torch.cuda.Stream | None") -> "torch.cuda.StreamContext | nullcontext[None]":
    """Return a context that queues work in ``stream``; nothing where there is none."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)
