"""Tolerant application of unified diffs that models write. A doubtful diff changes nothing."""

from tools.patch.apply import Patched, apply_patch, place_patch
from tools.patch.errors import PatchError

__all__ = ["PatchError", "Patched", "apply_patch", "place_patch"]
