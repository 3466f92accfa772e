"""The claim on an embedded store: one process at a time, for several would corrupt it silently."""

import fcntl
import os
from pathlib import Path

from memory.records.owner import Owner, this_process
from memory.vectors.base import VectorsUnavailable


class Claim:
    """A lock on a file that names its holder; the kernel ends it with the process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Claim":
        """Take the lock at once, or raise VectorsUnavailable naming who holds it."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise VectorsUnavailable(f"{path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(this_process()).encode(), 0)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise VectorsUnavailable(f"the store of vectors is in use by {holder}") from error
        except OSError as error:
            os.close(descriptor)
            raise VectorsUnavailable(f"{path} cannot be locked: {error.strerror}") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._descriptor)


def _holder(descriptor: int) -> str:
    owner = Owner.parse(os.pread(descriptor, 500, 0).decode(errors="replace"))
    if owner is None:
        return "another process"
    return "this process" if str(owner) == str(this_process()) else f"process {owner.pid} on {owner.host}"
