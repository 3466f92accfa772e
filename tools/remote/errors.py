"""Errors of remotes. Their messages say what happened, where, and what to do."""


class RemoteError(Exception):
    """A remote could not be used, or did not do what was asked."""


class RemoteRefused(RemoteError):
    """Something that is never done: a forbidden address, branch or file."""


class GitMissing(RemoteError):
    """The git program is not on this machine."""
