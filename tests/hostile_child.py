"""A process that uses hostile repositories, and that a test can kill when one of them hangs it."""

import json
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tools.workspace import PathError, Workspace, WorkspaceError
from tools.workspace.opening import bounded
from tools.workspace.status import status_process

ROOT = Path(__file__).parent.parent


class HostileChild:
    """Asks the process to use a repository. A new process takes the place of one that hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def use(self, repo: Path, *actions: str, bounds: Path | None = None, seconds: float = 10) -> str:
        """Return `works`, the message of a WorkspaceError, or how the process failed."""
        process = self._started()
        assert process.stdin
        assert process.stdout
        request = {"repo": str(repo), "actions": actions, "bounds": str(bounds or "")}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        answer = process.stdout.readline() if ready else ""
        if not answer:
            self.close()
            return "HUNG" if not ready else "DIED"
        return str(json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, __file__]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        return self._process


def _use(repo: Path, actions: list[str], bounds: str) -> str:
    with bounded([Path(bounds)] if bounds else []):
        workspace = Workspace.open(repo)
        head = workspace.begin(from_head="status" not in actions).snapshot
        if "read" in actions:
            for path in workspace.files(head):
                workspace.read(head, path)
            workspace.version(head)
            workspace.log(head, 5)
        if "write" in actions:
            snapshot = workspace.write(head, {"new.py": "new\n"}, "new")
            workspace.hold("t", "base", head)
            workspace.held("t")
            commit = workspace.deliver("autocode/t", snapshot, head, "Do it")
            workspace.note(commit, "proof\n")
            assert workspace.read_note(commit) == "proof\n"
            workspace.resolve("refs/heads/autocode/t")
            workspace.release("t")
        if "apply" in actions:
            result = workspace.write(head, {"a.py": "applied\n", "sub/b.py": None}, "new")
            workspace.apply(head, result)
    return "works"


if __name__ == "__main__":
    status_process.SECONDS = 2.0
    for line in sys.stdin:
        request = json.loads(line)
        begun = time.monotonic()
        with suppress(BrokenPipeError):
            try:
                answer = _use(Path(request["repo"]), request["actions"], request["bounds"])
            except (WorkspaceError, PathError) as error:
                answer = str(error)
            except Exception as error:  # no repository may cause one, so the test names it
                answer = f"INTERNAL {type(error).__name__}: {error}"
            taken = time.monotonic() - begun
            sys.stdout.write(json.dumps(answer if taken < 8 else f"SLOW {taken:.1f} s {answer}") + "\n")
            sys.stdout.flush()
