"""Mask secrets in texts and values, and recognise files with secrets.

The shapes of tokens are those that their issuers document (GitHub, GitLab, Slack, AWS, Google, OpenAI,
RFC 7519 for JWTs). Others are recognised by the name that they are assigned to, or by how often letters
and digits alternate.
"""

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import log2
from typing import Any
from urllib.parse import quote

MASK = "***"
HIDDEN = "[hidden key]"
"""Stands for a known key in prompts and replies. No file may hold it, so an edit cannot replace a key."""

_WHOLE = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)"
    r"|\b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{16,}"
    r"|\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{10,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    re.DOTALL,
)
_AFTER = re.compile(
    # Names that RFC 2606 reserves for examples belong to no host, so a password before one is an example too.
    r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{0,100}:)[^\s/@]{1,200}"
    r"(?=@)(?!@(?:[\w-]{1,60}\.){0,9}(?:example\.(?:com|net|org)|example|test|invalid)(?![\w-]|\.\w))"
    r"|(?P<scheme>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{12,}",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?P<name>(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|token(?!s|i)|passw(?:or)?d|pwd"
    r"|passphrase|credential)[\w-]{0,40})"
    r"(?P<sign>[\"']?\s{0,4}(?:[:=]|:=|=>)\s{0,4})"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\n]{4,400}+)(?P=quote)"
    r"|(?P<bare>[^\s\"'(),;\[\]{}<>]{6,400}+)(?=[\s,;)\]}]|\Z))",
    re.IGNORECASE,
)
_NAME_BEFORE = re.compile(r"(?<![\w.-])[\w.-]+\Z")
_RANDOM = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_HASHES = re.compile(r"(?:commit|sha-?\d*|md5|hash|digest|checksum|tree|blob|revision|etag)\W{0,12}$", re.I)
_SECRET_NAMES = re.compile(
    r"^(?:\.env.*|.*\.(env|pem|key|p12|pfx|jks|keystore|kdbx|ppk)|id_[^.]*|id_(rsa|dsa|ecdsa|ed25519).*"
    r"|[._]netrc|\.pgpass|\.pypirc|\.git-credentials|\.htpasswd)",
    re.DOTALL,
)
_HARMLESS_NAMES = re.compile(
    r"^(?:.*\.(pub|example|sample|template|dist)|\.env.*(example|sample|template).*)"
)
_SECRET_FOLDERS = {".ssh", ".aws", ".gnupg"}


def masked(value: Any, secrets: tuple[str, ...], mask: str = MASK) -> Any:
    """Return `value` with every secret in its texts and keys replaced."""
    return _in_texts(value, lambda text: _without(text, secrets, mask))


def masked_tokens(value: Any, secrets: tuple[str, ...] = ()) -> Any:
    """Return `value` without secrets, and without texts in it that have the shape of an issuer's token."""
    return _in_texts(value, lambda text: mask_tokens(_without(text, secrets, MASK)))


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_in_texts(key, change): _in_texts(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_texts(item, change) for item in value]
    return value


def _without(text: str, secrets: tuple[str, ...], mask: str) -> str:
    for secret in secrets:
        text = text.replace(secret, mask)
    return text


def mask_tokens(text: str) -> str:
    """Replace tokens of documented shapes, and passwords in addresses, by ***. All else stays.

    Unlike `mask` it does not guess, so a task or a note keeps hashes, ids and words about passwords.
    """
    text = _WHOLE.sub(MASK, text)
    return _AFTER.sub(lambda match: f"{match['before'] or match['scheme']}{MASK}", text)


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the secrets as JSON, an address and HTTP's basic scheme write them, the longest first.

    Weak values are left out: `POSTGRES_PASSWORD=postgres` is an ordinary word of code.
    """
    found: set[str] = set()
    for secret in filter(_is_strong, secrets):
        found |= {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        found |= {
            quote(secret, safe=""),
            quote(secret),
            b64encode(secret.encode("utf-8", "replace")).decode(),
        }
    return tuple(sorted(found, key=lambda text: (-len(text), text)))


def _is_strong(secret: str) -> bool:
    has_digit_and_letter = any(map(str.isdigit, secret)) and any(map(str.isalpha, secret))
    return len(secret) >= 16 or (len(secret) >= 10 and has_digit_and_letter)


def names_key(variable: str) -> bool:
    """Return True if the name of a variable of the environment marks it as a key or a password."""
    marks = ("API_KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "ACCESS_KEY", "PRIVATE_KEY")
    return any(mark in variable.upper() for mark in marks)


def is_secret(path: str) -> bool:
    """Return True if `path` looks like keys or passwords, which no model may read."""
    *folders, name = path.lower().rstrip("/").split("/")  # each file of a repository is asked for
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    return bool(_SECRET_NAMES.fullmatch(name)) and not _HARMLESS_NAMES.fullmatch(name)


def mask(text: str) -> str:
    """Replace keys, tokens and passwords in `text` by `***`. Their names stay."""
    text = _NAMED.sub(_mask_named, mask_tokens(text))
    return _RANDOM.sub(_mask_random, text)


def _mask_named(match: re.Match[str]) -> str:
    """Mask a value that is assigned to a name such as `token`. Code that reads it from elsewhere stays."""
    bare = match["bare"]
    if bare and "." in bare and bare.replace(".", "").isidentifier():
        return match[0]
    # Lower-case words without digits are more often code than passwords.
    start = match.start()
    before = _NAME_BEFORE.search(match.string[max(0, start - 40) : start])
    name = (before[0] if before else "") + match["name"]
    if bare and not (name.isupper() or any(char.isdigit() for char in bare)):
        return match[0]
    quote = match["quote"] or ""
    return f"{match['name']}{match['sign']}{quote}{MASK}{quote}"


def _mask_random(match: re.Match[str]) -> str:
    """Mask a long word that looks random, unless the text before it says that it is a hash."""
    word = match[0]
    if not _is_random(word) or _HASHES.search(match.string[max(0, match.start() - 24) : match.start()]):
        return word
    return MASK


def _is_random(word: str) -> bool:
    """Return True if letters and digits alternate twice as often as in `parseHTTP2Url`."""
    if not (any(map(str.isdigit, word)) and any(map(str.isalpha, word))):
        return False
    if re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", word):
        return len(word) >= 32 and _entropy(word) > 3.0
    turns = len(re.findall(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[0-9]|(?<=[0-9])[A-Za-z]|\+", word))
    return turns >= 0.2 * len(word) and _entropy(word) > 3.5


def _entropy(word: str) -> float:
    return -sum(n / len(word) * log2(n / len(word)) for n in Counter(word).values())
