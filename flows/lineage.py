"""A version of a corpus in, a drawing of what came from what out: Mermaid in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flows.markup import label
from storage.manifest import Manifest, Reference, Source
from storage.records import manifests_of
from storage.snapshots import Snapshot
from storage.store import Store

NODES = 40  # more cannot be read
_STYLES = {
    "new": "fill:#d5f0d8,stroke:#2e7d32,color:#10341a",
    "partly": "fill:#fff3cd,stroke:#b58900,color:#4a3700",
    "before": "fill:#eceff1,stroke:#90a4ae,color:#37474f",
    "outside": "fill:#ffffff,stroke:#90a4ae,color:#37474f,stroke-dasharray:4 3",
}
_LEGEND = "Green is new in this run, yellow is new in part, grey was done before; dashed comes from outside."


@dataclass
class _Node:
    """All things of one name, counted together."""

    name: str
    parts: int = 0
    rows: int = 0
    bytes: int = 0
    new: int = 0
    style: str = ""
    inputs: set[str] = field(default_factory=set)

    def add(self, manifest: Manifest, run: str) -> None:
        """Count one more thing."""
        self.parts += 1
        self.rows += manifest.rows
        self.bytes += manifest.bytes
        self.new += manifest.run == run
        self.style = "new" if self.new == self.parts else "partly" if self.new else "before"

    def text(self) -> str:
        """Return what stands in the node, line by line."""
        lines = [label(self.name), f"{self.parts:,} {'part' if self.parts == 1 else 'parts'}"]
        lines[-1] += f", {self.new:,} new" if 0 < self.new < self.parts else ""
        lines.append(f"{self.rows:,} rows" if self.rows else f"{self.bytes:,} bytes")
        return "<br/>".join(lines)


def lineage(store: Store, snapshot: Snapshot, run: str | None = None) -> str:
    """Draw what a version is made of: one node per name of dataset or artifact, one arrow per kind of use.

    Args:
        store: where the version lies.
        snapshot: the version.
        run: whose work counts as new; the run that made the version if not given.

    Returns:
        Markdown with a Mermaid graph of at most 40 nodes.

    Raises:
        SourceError: if a manifest is missing.
    """
    manifests = manifests_of(store, snapshot.things)
    return lineage_of(manifests.values(), snapshot.run if run is None else run)


def lineage_of(manifests: Iterable[Manifest], run: str) -> str:
    """Draw the lineage that some manifests tell; what was new when `run` wrote it stands out."""
    nodes, sources = dict[str, _Node](), dict[tuple[str, str], _Use]()
    for manifest in manifests:
        node = nodes.setdefault(manifest.reference.name, _Node(manifest.reference.name))
        node.add(manifest, run)
        for one in manifest.flat_inputs():
            if isinstance(one, Reference):
                node.inputs.add(one.name)
            elif isinstance(one, Source):
                sources.setdefault((one.name, one.digest), _Use(one)).users.add(node.name)
    for name in sorted({name for node in nodes.values() for name in node.inputs} - nodes.keys()):
        nodes[name] = _Node(name, style="before")  # made from, but no part of the version: a vocabulary, say
    kept, left_out = _most_used(nodes)
    lines = _graph(kept, _from_outside(sources.values(), NODES - len(kept)))
    told = [f"{left_out:,} more kinds of datasets are left out."] if left_out else []
    return "\n".join([*lines, "", _LEGEND, *told])


@dataclass
class _Use:
    """A file from outside, and what is made from it."""

    source: Source
    users: set[str] = field(default_factory=set)


def _most_used(nodes: Mapping[str, _Node]) -> tuple[dict[str, _Node], int]:
    """Keep the names with the most parts, and room for what comes from outside."""
    ranked = sorted(nodes.values(), key=lambda node: (-node.parts, node.name))[: NODES - 5]
    return {node.name: node for node in sorted(ranked, key=lambda node: node.name)}, len(nodes) - len(ranked)


def _from_outside(uses: Iterable[_Use], room: int) -> list[tuple[str, set[str]]]:
    """Return text and users of each group of files that are used for the same; the largest groups."""
    groups: dict[tuple[str, ...], list[Source]] = {}
    for use in uses:
        groups.setdefault(tuple(sorted(use.users)), []).append(use.source)
    ranked = sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))[:room]
    return [(_files_text(sources), set(users)) for users, sources in sorted(ranked)]


def _files_text(sources: list[Source]) -> str:
    size = f"{sum(one.size for one in sources):,} bytes"
    name = label(sources[0].name) if len(sources) == 1 else f"{len(sources):,} files"
    return f"{name}<br/>{size}"


def _graph(nodes: Mapping[str, _Node], outside: list[tuple[str, set[str]]]) -> list[str]:
    places = {name: f"d{place}" for place, name in enumerate(nodes)}
    lines = ["```mermaid", "graph TD"]
    for name, node in nodes.items():
        text = node.text() if node.parts else label(name)
        lines.append(f'  {places[name]}["{text}"]:::{node.style}')
    for place, (text, users) in enumerate(outside):
        lines.append(f'  s{place}[("{text}")]:::outside')
        lines += [f"  s{place} --> {places[user]}" for user in sorted(users & places.keys())]
    for name, node in nodes.items():
        used = sorted(one for one in node.inputs & places.keys() if one != name)
        lines += [f"  {places[one]} --> {places[name]}" for one in used]
    return [*lines, *(f"  classDef {name} {style}" for name, style in _STYLES.items()), "```"]
