"""Places in a change that may deceive a check."""

from nodes.check.suspicion.scan import suspicions

__all__ = ["suspicions"]
