"""Networks that can be clicked: a diagram and the source of those that matter, layers of all."""

from dataclasses import dataclass, field

from archpress.architectures.architecture import Architecture
from archpress.architectures.diagrams import diagram
from archpress.architectures.source_code import source_code

DRAWN, LISTED = 60, 400
"""Networks with a diagram and source, and with a list of layers: some kilobytes each."""


@dataclass
class Networks:
    """The networks of a page, by digest.

    Attributes:
        entries: Digest -> what is shown of it.
    """

    entries: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, network: Architecture, about: str, drawn: bool) -> str:
        """Take a network in; return its digest.

        Args:
            network: The network.
            about: What is known of it, in words.
            drawn: Whether it gets a diagram and source.
        """
        entry = self.entries.setdefault(network.digest, {})
        entry["about"] = about
        if len(self.entries) <= LISTED:
            entry.setdefault("layers", str(network))
        if drawn and "diagram" not in entry and self.drawn < DRAWN:
            entry["diagram"] = diagram(network)
            entry["source"] = source_code(network)
        return network.digest

    @property
    def drawn(self) -> int:
        """How many have a diagram."""
        return sum("diagram" in entry for entry in self.entries.values())
