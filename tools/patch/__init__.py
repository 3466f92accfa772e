"""Applies unified diffs as models write them: only what is meant is changed, or nothing and a PatchError."""

from tools.patch.apply import Patched, apply_patch, place_patch
from tools.patch.errors import PatchError

__all__ = ["PatchError", "Patched", "apply_patch", "place_patch"]
