"""Tolerant application of unified diffs that models write. A doubtful diff changes nothing."""

from tools.patch.apply import Patched, apply_patch, place_patch
from tools.patch.errors import PatchError
from tools.patch.source import LineSearch

__all__ = ["LineSearch", "PatchError", "Patched", "apply_patch", "place_patch"]
