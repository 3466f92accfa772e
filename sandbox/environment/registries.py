"""Package registries of this machine: indexes, proxies and certificates, and their passwords' masks."""

import configparser
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

_PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf")
_PIP_USER_FILES = (".pip/pip.conf", ".config/pip/pip.conf")
_PIP_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "no-index",
    "constraint",
    "cert",
    "timeout",
)
# uv does not read pip's settings. These are its own names for the same things.
_PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "timeout": "UV_HTTP_TIMEOUT",
}
_PASSED = re.compile(
    r"^(?:UV_(DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|INDEX\w*|INSECURE_HOST|CONSTRAINT|HTTP_TIMEOUT|NATIVE_TLS|SYSTEM_CERTS)"
    r"|GO(PROXY|SUMDB|NOSUMDB|PRIVATE|NOPROXY)|(?i:npm_config_(registry|cafile|strict_ssl|_.*registry)))"
)
_CERTIFICATES = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
]
_NPM_KEYS = re.compile(
    r"^(?:(@[\w.-]+:)?registry|cafile|strict-ssl|//.+:(_authToken|_auth|_password|username|always-auth))"
)
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls",
    "/etc/pki/ca-trust/extracted",
)
_URL_PASSWORD = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")
_SECRET_NAME = re.compile(r"(?i)password|token|_auth$|secret")
_MASK = "***"
_MAX_LINE = 8_192
_MAX_CERTIFICATES = 4 * 2**20
_MAX_TEXT = 400_000


@dataclass(frozen=True)
class Registries:
    """Settings for one build: variables, files for its home, readable host paths, and the upstream proxy."""

    variables: Mapping[str, str] = field(default_factory=dict)
    home_files: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[tuple[str, int]] = frozenset()
    secrets: frozenset[str] = frozenset()

    @classmethod
    def read(cls, environ: Mapping[str, str], home: Path) -> "Registries":
        """Read the configuration of pip, uv and npm from the environment and from files.

        Certificates, local indexes and constraint files become readable host paths.
        """
        pip = _pip_settings(environ, home)
        variables = dict(_translated(pip))
        variables |= {name: value for name, value in environ.items() if _PASSED.fullmatch(name)}
        for name in _CERTIFICATES:
            if value := environ.get(name) or pip.get("cert", "") or environ.get("SSL_CERT_FILE", ""):
                variables[name] = value
        npm = _npm_settings(home)
        home_files = {".npmrc": "".join(f"{key}={value}\n" for key, value in npm)} if npm else {}
        if text := _read(home / ".config/uv/uv.toml") or _read(Path("/etc/uv/uv.toml")):
            home_files[".config/uv/uv.toml"] = text
        proxies = {
            name: environ.get(name) or environ.get(name.lower(), "") for name in (*_PROXIES, "NO_PROXY")
        }
        values = [*variables.values(), *(value for _, value in npm), *home_files.values()]
        named = {value for name, value in (*variables.items(), *npm) if _SECRET_NAME.search(name)}
        return cls(
            variables=variables,
            home_files=home_files,
            paths=tuple(sorted({*_local_paths(values), *filter(_exists, _SYSTEM_CERTIFICATES)})),
            proxies=proxies,
            hosts=frozenset(_hosts(values)),
            secrets=frozenset(
                _secrets([*values, *proxies.values()]) | {value for value in named if len(value) > 3}
            ),
        )

    def with_certificates_in(self, folder: str) -> tuple[dict[str, str], dict[str, bytes]]:
        """Return the variables for a place where the system's certificates lie in `folder`, and the files."""
        variables, files = dict(self.variables), dict[str, bytes]()
        for name, value in self.variables.items():
            path = Path(value)
            if value.startswith("/etc/") and path.is_file() and path.stat().st_size < _MAX_CERTIFICATES:
                files[f"certificates/{path.name}"] = path.read_bytes()
                variables[name] = f"{folder}/certificates/{path.name}"
        return variables, files

    def mask(self, text: str) -> str:
        """Replace every known password, and whatever looks like the password of an address."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        return _URL_PASSWORD.sub(_MASK, text)


class MaskedOutput:
    """Passes whole lines on and keeps the last part of the text for the diagnosis.

    A password can come in two pieces, so nothing is passed on before its line ends.
    """

    def __init__(self, mask: Callable[[str], str], on_output: Callable[[str], None]) -> None:
        self._mask = mask
        self._on_output = on_output
        self._line = ""
        self._pieces: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """Return the last part of the masked output."""
        return "".join(self._pieces)[-_MAX_TEXT:]

    def feed(self, text: str) -> None:
        """Take a piece of output."""
        whole, newline, rest = (self._line + text).rpartition("\n")
        self._line = rest
        if newline:
            self._pass_on(whole + newline)
        if len(self._line) > _MAX_LINE:
            self.flush()  # a program could fill our memory with one endless line

    def flush(self) -> None:
        """Pass the unfinished line on."""
        if self._line:
            self._pass_on(self._line + "\n")
            self._line = ""

    def _pass_on(self, text: str) -> None:
        masked = self._mask(text)
        self._pieces.append(masked)
        self._length += len(masked)
        if self._length > 2 * _MAX_TEXT:
            self._pieces = [self.text]
            self._length = len(self._pieces[0])
        self._on_output(masked)


def _pip_settings(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Merge pip's files and variables in pip's own order."""
    found: dict[str, str] = {}
    files = [*map(Path, _PIP_FILES), *(home / name for name in _PIP_USER_FILES)]
    if named := environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(_read(path))
        except configparser.Error:
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {
                    key: " ".join(value.split()) for key, value in parser.items(section) if key in _PIP_KEYS
                }
    for key in _PIP_KEYS:
        if value := environ.get("PIP_" + key.upper().replace("-", "_")):
            found[key] = value
    return found


def _translated(pip: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in pip.items():
        if key != "cert":
            yield "PIP_" + key.upper().replace("-", "_"), value
        if name := _PIP_TO_UV.get(key):
            yield name, value.replace(" ", ",") if key == "find-links" else value
    if pip.get("extra-index-url"):
        yield (
            "UV_INDEX_STRATEGY",
            "unsafe-best-match",
        )  # pip looks at all indexes, uv at the first that answers
    if pip.get("index-url"):
        yield "POETRY_PYPI_MIRROR_URL", pip["index-url"]
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        yield "UV_NO_INDEX", "1"


def _npm_settings(home: Path) -> list[tuple[str, str]]:
    lines = (
        line.partition("=")
        for path in (Path("/etc/npmrc"), home / ".npmrc")
        for line in _read(path).splitlines()
    )
    return [
        (key.strip(), value.strip().strip("\"'"))
        for key, _, value in lines
        if _NPM_KEYS.fullmatch(key.strip())
    ]


def _words(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from re.split(r"[\s,\"'=]+", value)


def _local_paths(values: Iterable[str]) -> Iterator[str]:
    """Yield the paths that settings name, so that the build can read these and no others."""
    for word in _words(values):
        path = unquote(urlsplit(word).path) if word.startswith("file://") else word
        if not path.startswith("/") or not _exists(path):
            continue
        # A file index usually links to files beside it.
        found = Path(path)
        yield str(found.parent if found.name == "simple" and found.is_dir() else found)


def _hosts(values: Iterable[str]) -> Iterator[tuple[str, int]]:
    for word in _words(values):
        parts = urlsplit(word) if word.startswith(("http://", "https://")) else None
        if parts and parts.hostname:
            yield parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _secrets(values: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for word in _words(values):
        if match := _URL_PASSWORD.search(word):
            user, _, password = match[0].partition(":")
            found |= {password, unquote(password), f"{user}:{password}"}
        elif match := re.search(r"(?<=://)[^\s/@:]{8,}(?=@)", word):  # a token in the user's place
            found.add(match[0])
    return {secret for secret in found if len(secret) > 3}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") if path.is_file() else ""
    except OSError:
        return ""


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False
