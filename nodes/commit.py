"""The commit delivers the head as a branch with its proof, verified or openly unverified."""

import asyncio
import textwrap
from dataclasses import dataclass
from pathlib import Path

from langgraph.runtime import Runtime

from memory.search.recollection import Recollection
from nodes.dialogue.conversation import open_workspace, thread_of
from nodes.dialogue.episodes import episode_of
from nodes.events import ErrorReported
from nodes.messages import ai
from nodes.proof import Proof
from nodes.publish import Publish, publisher
from nodes.state import State, latest
from tools.workspace import Workspace, WorkspaceError


def missing(state: State) -> list[str]:
    """Return what a verified result would still need, empty if the run is verified."""
    lacks: list[str] = []
    if state["stops"]:
        lacks.append(state["stops"][0]["reason"])
    lacks += [f"step {id} failed: {r['error']}" for id, r in latest(state["results"]).items() if "error" in r]
    if state["plan"] and state["head"] == state["base"]:
        return [*lacks, "no step changed a file"]
    if not state["check"]:
        return [*lacks, "the change was not run in a sandbox"]
    proof = Proof.model_validate(state["check"])
    if proof.head != state["head"]:
        lacks.append("the newest edits were not run in a sandbox")
    lacks += proof.problems
    if proof.green and not proof.proves:
        lacks.append(
            "no new test fails on the base and passes on the change, and the tester gave no reason for that"
        )
    verdict = state["verdict"]
    if verdict and verdict["verdict"] == "FAIL":
        lacks += [f"the critic: {reason}" for reason in verdict["reasons"] or ["FAIL without a reason"]]
    elif proof.proves and (verdict is None or verdict["tree"] != proof.tree):
        lacks.append("the critic has not passed this tree")
    return lacks


@dataclass(frozen=True)
class Commit:
    """Writes one commit, with its proof as a note. The branch's name says whether it is verified."""

    memory: Recollection | None = None

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return branch and proof, and remember a verified run. Without a change there is no branch."""
        lacks = missing(state)
        if state["head"] == state["base"] or any(stop["kind"] == "cancelled" for stop in state["stops"]):
            done: State = {"missing": lacks, "branch": None, "proof": state["check"]}
        else:
            thread = thread_of(runtime)
            done = await asyncio.to_thread(self._deliver, state, thread, lacks)
            if self.memory and (commit := done.get("delivered")):
                publish = publisher(runtime.stream_writer, "commit")
                await self._remember(self.memory, state, thread, commit, publish)
        return done | {"messages": [ai(state["run"], "result", result_text(state, done))]}

    async def _remember(
        self, memory: Recollection, state: State, thread: str, commit: str, publish: Publish
    ) -> None:
        """Store the run's episode."""
        try:
            workspace = await open_workspace(state)
            episode = await asyncio.to_thread(episode_of, state, thread, workspace, commit)
            await memory.episodes.store(episode)
        except Exception as error:  # memory is an aid, and the result stands without it
            publish(ErrorReported(message=f"this task was not remembered: {error}", kind="warning"))

    def _deliver(self, state: State, thread: str, lacks: list[str]) -> State:
        workspace = Workspace.open(Path(state["repo"]))
        proof = _signed(state, lacks)
        tree = workspace.tree(state["head"])
        branch = _branch(workspace, thread, tree, verified=not lacks)
        commit = _existing(workspace, branch, tree)
        if commit is None:
            text = _message(state, proof, tree, lacks)
            commit = workspace.deliver(branch, state["head"], state["base"], text)
        note = proof.model_dump_json(indent=1) if proof else "{}"
        workspace.note(commit, note)
        workspace.hold(thread, "result", commit)  # users delete branches, but the thread goes on from here
        done: State = {"missing": lacks, "branch": branch, "proof": proof.model_dump() if proof else None}
        return done if lacks else done | {"delivered": commit}


def result_text(state: State, done: State) -> str:
    """Return the result as a chat message in Markdown."""
    branch, lacks = done["branch"], done["missing"]
    proof = Proof.model_validate(done["proof"]) if done["proof"] else None
    parts = ["**Not verified.**" if lacks else "**Verified.**"]
    if branch:
        parts[0] += f" The result is the branch `{branch}`."
    if plan := state["plan"]:
        parts.append("\n".join(f"- {step['description']}" for step in plan["steps"]))
    if proof and proof.grade == "tests":
        proved = f"{proof.passed} of {proof.total} test cases pass"
        parts.append(f"{proved}; {len(proof.fail_to_pass)} of them are new and fail without the change.")
    if lacks:
        parts.append("What is missing:\n" + "\n".join(f"- {lack}" for lack in lacks))
    return "\n\n".join(parts)


def _signed(state: State, lacks: list[str]) -> Proof | None:
    """Return the check with the task, the run, and the critic's verdict if it is on this tree."""
    if not state["check"]:
        return None
    proof, verdict = Proof.model_validate(state["check"]), state["verdict"]
    said = verdict if verdict and verdict["tree"] == proof.tree else None
    signature = {
        "task": state["task"],
        "run": state["run"],
        "verdict": said["verdict"] if said else "",
        "reasons": said["reasons"] if said else [],
        "missing": lacks,
    }
    return proof.model_copy(update=signature)


def _branch(workspace: Workspace, thread: str, tree: str, verified: bool) -> str:
    """Return the branch's name. An unverified result never replaces that of an earlier run."""
    name = f"autocode/{thread}" if verified else f"autocode/{thread}-unverified"
    if verified or _tip(workspace, name) is None or _existing(workspace, name, tree):
        return name
    number = 2
    while _tip(workspace, f"{name}-{number}") and not _existing(workspace, f"{name}-{number}", tree):
        number += 1
    return f"{name}-{number}"


def _existing(workspace: Workspace, branch: str, tree: str) -> str | None:
    """Return the branch's commit if it holds this tree, because the run delivered it before a crash."""
    tip = _tip(workspace, branch)
    return tip if tip and workspace.tree(tip) == tree else None


def _tip(workspace: Workspace, branch: str) -> str | None:
    try:
        return workspace.resolve(f"refs/heads/{branch}")
    except WorkspaceError:
        return None


def _message(state: State, proof: Proof | None, tree: str, lacks: list[str]) -> str:
    """Return a commit message: the task, and trailers with run, tree and checks."""
    first, _, rest = state["task"].strip().partition("\n")
    subject = textwrap.shorten(first, 72, placeholder="…") or "AutoCodeAI"
    whole = f"{first}\n{rest}" if subject != first else rest
    body = [subject, *(textwrap.fill(part, 72) for part in whole.strip().splitlines() if part)]
    trailers = [f"Autocode-Run: {state['run']}", f"Autocode-Tree: {tree}"]
    if lacks:
        trailers.append(f"Autocode-Unverified: {' '.join(lacks[0].split())[:200]}")
    elif proof:
        trailers.append(f"Autocode-Verified: {proof.passed}/{proof.total}")
    return "\n\n".join([*body, "\n".join(trailers)]) + "\n"
