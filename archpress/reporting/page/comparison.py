"""The result beside its rivals: the same network, budget, final training and seeds."""

from archpress.reporting.intervals import difference, within_noise
from archpress.reporting.page.markup import missing, paragraph, table
from archpress.reporting.page.networks import Networks
from archpress.reporting.run_view import RunView
from archpress.reporting.tables import percent

HEAD = (
    "", "parameters", "MACs", "compression", "test accuracy, %", "archpress minus it, points",
    "labels", "label epochs", "learned from",
)  # fmt: skip


def build(view: RunView, networks: Networks) -> str:
    """Return the table, and what to call where no rival has run."""
    if view.result is None:
        return missing("There is no result to compare yet.")
    base, ours = view.result["base"], view.result["compressed"]
    rows = {"input network": base, "archpress": ours}
    rows |= {name.replace("_", " "): row for name, row in sorted(view.result["rivals"].items())}
    lines = []
    for name, row in rows.items():
        points = difference(ours["test_accuracy"], row["test_accuracy"])
        noise = (
            " (within noise)" if within_noise(ours["test_accuracy"], row["test_accuracy"]) else ""
        )
        lines.append(
            [
                name, f"{row['parameters']:,}", f"{row['macs']:,}",
                f"{base['parameters'] / row['parameters']:.2f}x", percent(row["test_accuracy"]),
                "" if row is ours else f"{points}{noise}",
                f"{row['labels']:,}" if "labels" in row else "",
                f"{row['label_epochs']:,}" if "label_epochs" in row else "",
                "input network" if "teacher" in row else "labels",
            ]
        )  # fmt: skip
    note = "" if view.result["rivals"] else paragraph(
        f"No rival has run. archpress baseline random_search {view.folder} sets one beside it."
    )  # fmt: skip
    return table(HEAD, lines) + note
