"""Errors of hosting sites. Their messages say what happened, where, and what to do."""


class HostingError(Exception):
    """A site could not be used, or did not do what was asked. `status` is that of its answer, if any."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
