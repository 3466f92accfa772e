"""A sight: one place that a rule names, before base and change are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sight:
    """A place in one version of a file. `key` stays the same if the place only moves."""

    key: str
    line: int
    text: str
