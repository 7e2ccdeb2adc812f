"""Figure 3: the joint training loss of the embedding and its parts."""

from typing import Any

from archpress.files import read_json_lines
from archpress.optional import require
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import drawn

PARTS = {
    "L": "joint loss L", "L_d": "decoder L_d", "L_a": "accuracy L_a", "L_p": "parameters L_p"
}  # fmt: skip
SMOOTHED = 10
"""Records that a line is the running mean of."""


def run(bench: Bench) -> Outcome:
    """Return the losses of the fit in the run of the paper's recipe."""
    require("matplotlib", "figures")
    bench.run("paper")
    rows = read_json_lines(bench.folder / "paper" / "fit.jsonl")
    figure = drawn(lambda _, axes: _draw(axes[0], rows, bench.data))
    last = rows[-SMOOTHED:]
    facts = {name: sum(row[name] for row in last) / len(last) for name in PARTS}
    text = ", ".join(f"{title} {facts[name]:.4f}" for name, title in PARTS.items())
    name = f"figure3-{bench.data}"
    return Outcome(
        {"iterations": rows[-1]["iteration"], "last": facts},
        f"Joint training loss on {bench.data}; at the end: {text}.\n",
        {name: figure},
    )


def _draw(axis: Any, rows: list[dict[str, float]], data: str) -> None:
    iterations = [row["iteration"] for row in rows]
    for name, title in PARTS.items():
        values = [row[name] for row in rows]
        means = [
            sum(values[max(0, place - SMOOTHED + 1) : place + 1]) / min(place + 1, SMOOTHED)
            for place in range(len(values))
        ]
        axis.plot(iterations, means, label=title, linewidth=1.2)
    axis.set(xlabel="iteration", ylabel="loss", yscale="log", title=f"Joint training, {data}")
    axis.legend(frameon=False)
