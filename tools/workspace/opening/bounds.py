"""The folders that repositories may use. A server has them from AUTOCODE_REPOS."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from tools.workspace.errors import OutsideBounds

# Tasks and threads inherit it from the server's request or queue, so that each later opening has it too.
_BOUNDS: ContextVar[tuple[str, ...]] = ContextVar("bounds", default=())


@contextmanager
def bounded(folders: Sequence[Path]) -> Iterator[None]:
    """Limit every repository that is opened inside to these folders. None of them means no limit."""
    token = _BOUNDS.set(tuple(os.path.realpath(folder) for folder in folders))
    try:
        yield
    finally:
        _BOUNDS.reset(token)


def check_inside(path: str, real: str | None = None) -> None:
    """Raise OutsideBounds if `path` leads out of the allowed folders. `real` is its resolved path."""
    folders = _BOUNDS.get()
    if not folders:
        return
    real = real or os.path.realpath(path)
    if not any(real == folder or real.startswith(folder.rstrip("/") + "/") for folder in folders):
        raise OutsideBounds(
            f"{path} is in no folder that AUTOCODE_REPOS allows; use another repository, or add its folder"
        )


def is_bounded() -> bool:
    """Return whether only some folders are allowed."""
    return bool(_BOUNDS.get())


def bounds_key() -> tuple[str, ...]:
    """Return the allowed folders, for results that depend on them."""
    return _BOUNDS.get()
