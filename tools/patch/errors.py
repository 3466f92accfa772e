"""The exception of this package. Its message helps a model to correct its diff."""


class PatchError(Exception):
    """A diff was refused. The message names file, hunk and difference, and the state of the other hunks."""

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
