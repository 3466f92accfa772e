"""Which files look like secrets."""

import re
from pathlib import PurePosixPath

_SECRET_NAMES = re.compile(
    r"\.env.*|.*\.(env|pem|key|p12|pfx|jks|keystore|kdbx|ppk)|id_[^.]*|id_(rsa|dsa|ecdsa|ed25519).*"
    r"|[._]netrc|\.pgpass|\.pypirc|\.git-credentials|\.htpasswd",
    re.DOTALL,
)
_HARMLESS_NAMES = re.compile(r".*\.(pub|example|sample|template|dist)|\.env.*(example|sample|template).*")
_SECRET_FOLDERS = {".ssh", ".aws", ".gnupg"}


def is_secret(path: str) -> bool:
    """Tell whether `path` looks like keys or passwords, which no model should read."""
    *folders, name = PurePosixPath(path.lower()).parts
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    return bool(_SECRET_NAMES.fullmatch(name)) and not _HARMLESS_NAMES.fullmatch(name)
