"""The image of Docker's containers: our own, built on first use, or one that the user names."""

import hashlib
import io
import re
from importlib.resources import files

from docker import DockerClient
from docker.errors import DockerException, ImageNotFound

from sandbox.base import OnText, SandboxError

NAME = "autocode-sandbox"
"""The name of our image. Its tag is a hash of the Dockerfile and the base image."""

IMAGE_SECONDS = 1800.0
"""The most that a pull or a build may take. docker-py waits for both without a limit."""


def ready_image(client: DockerClient, named: str | None, notify: OnText) -> str:
    """Return the id of the image. It is pulled or built if it is missing. Raises SandboxError."""
    if named:
        return _present(client, named) or _pull(client, named, notify)
    dockerfile = (files("sandbox") / "Dockerfile").read_text()
    name = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)[0]
    base = _present(client, name) or _pull(client, name, notify)
    tag = f"{NAME}:{hashlib.sha256((dockerfile + base).encode()).hexdigest()[:12]}"
    return _present(client, tag) or _build(client, tag, dockerfile, notify)


def digest(client: DockerClient, image: str) -> str:
    """Return the registry's digest of the image. The engine's own id for an image of no registry."""
    attributes = client.images.get(image).attrs
    digests = [name.partition("@")[2] for name in attributes.get("RepoDigests") or ()]
    return next(filter(None, digests), "") or str(attributes["Id"])


def _present(client: DockerClient, name: str) -> str | None:
    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return None


def _pull(client: DockerClient, name: str, notify: OnText) -> str:
    notify(f"Pulling the image {name}, on first use only")
    try:
        return str(client.images.pull(name).id)
    except DockerException as error:
        failure = f"the image {name} could not be pulled; run: docker pull {name}"
        raise SandboxError(f"{failure}\n{error}") from error


def _build(client: DockerClient, tag: str, dockerfile: str, notify: OnText) -> str:
    """Build from the Dockerfile alone, so that nothing else can enter the image."""
    notify(f"Building the sandbox's image {tag}, on first use only")
    lines: list[str] = []
    for entry in client.api.build(
        fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True, forcerm=True, decode=True
    ):
        if text := str(entry.get("stream") or "").strip():
            lines.append(text)
            if text.startswith(("Step ", "Collecting ", "Successfully ")):
                notify(text)
        if "error" in entry:
            failure = "the sandbox's image could not be built; it needs the network once, for pytest"
            raise SandboxError("\n".join([failure, *lines[-10:], str(entry["error"]).strip()]))
    return str(client.images.get(tag).id)
