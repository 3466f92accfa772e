"""The one exception of this package, worded so that a model can mend its diff."""


class PatchError(Exception):
    """A diff that was refused: the file, the hunk, what differs, and how the other hunks fared."""

    def __init__(
        self, reason: str, path: str | None = None, hunk: int | None = None, placed: tuple[str, ...] = ()
    ) -> None:
        self.reason = reason
        self.path = path
        self.hunk = hunk
        self.placed = placed
        where = f"{path}: " if path else ""
        where += f"hunk {hunk}: " if hunk else ""
        notes = "".join(f"\n  {note}" for note in placed)
        super().__init__(
            f"{where}{reason}" + (f"\nNothing was written. The other hunks:{notes}" if notes else "")
        )
