"""The image that Docker's programs run in: ours, built on first use, or the one that the user named."""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sandbox.base import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

NAME = "autocode-sandbox"
"""The name of our image; its tag tells the Dockerfile and the base that it was built from."""


def ready_image(client: "DockerClient", named: str | None, notify: Callable[[str], None]) -> str:
    """The id of the image to use, pulled or built when it is not there. Raises SandboxError."""
    if named:
        return _present(client, named) or _pull(client, named, notify)
    dockerfile = (files("sandbox") / "Dockerfile").read_text()
    found = re.search(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert found  # noqa: S101  # the file is ours
    base = _present(client, found[1]) or _pull(client, found[1], notify)
    tag = f"{NAME}:{hashlib.sha256((dockerfile + base).encode()).hexdigest()[:12]}"
    return _present(client, tag) or _build(client, tag, dockerfile, notify)


def digest(client: "DockerClient", image: str) -> str:
    """What a registry calls the image; the engine's own id for one that comes from none."""
    attributes = client.images.get(image).attrs
    of_registry = [name.partition("@")[2] for name in attributes.get("RepoDigests") or ()]
    return next(filter(None, of_registry), "") or str(attributes["Id"])


def _present(client: "DockerClient", name: str) -> str | None:
    from docker.errors import ImageNotFound

    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return None


def _pull(client: "DockerClient", name: str, notify: Callable[[str], None]) -> str:
    from docker.errors import APIError

    notify(f"Pulling the image {name}, on first use only")
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
    whole = "@" in name
    failure = f"the image {name} could not be pulled; run: docker pull {name}"
    try:
        log = client.api.pull(name if whole else repository, None if whole else tag, stream=True, decode=True)
    except APIError as error:
        raise SandboxError(f"{failure}\n{error}") from error
    _follow(log, lambda _: None, failure)
    return _present(client, name) or _missing(name)


def _build(client: "DockerClient", tag: str, dockerfile: str, notify: Callable[[str], None]) -> str:
    notify(f"Building the sandbox's image {tag}, on first use only")
    log = client.api.build(
        fileobj=_context(dockerfile), custom_context=True, tag=tag, rm=True, forcerm=True, decode=True
    )
    _follow(log, notify, "the sandbox's image could not be built; it needs the network once, for pytest")
    return _present(client, tag) or _missing(tag)


def _context(dockerfile: str) -> io.BytesIO:
    """A build context of the Dockerfile alone: nothing else of this machine may enter an image."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile.encode())
        tar.addfile(member, io.BytesIO(dockerfile.encode()))
    context.seek(0)
    return context


def _follow(log: Iterable[dict[str, Any]], notify: Callable[[str], None], failure: str) -> None:
    said: list[str] = []
    for entry in log:
        if text := str(entry.get("stream") or "").strip():
            said.append(text)
            if text.startswith(("Step ", "Collecting ", "Successfully ")):
                notify(text)
        if "error" in entry:
            raise SandboxError("\n".join([failure, *said[-10:], str(entry["error"]).strip()]))


def _missing(name: str) -> str:
    raise SandboxError(f"Docker reported no error, yet has no image {name}; run: docker pull {name}")
