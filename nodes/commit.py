"""The commit delivers the head as a branch with its proof, verified or openly unverified."""

import asyncio
import json
import textwrap
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime

from memory.search.recollection import Recollection
from memory.secrets import masked, masked_tokens, spellings
from nodes.dialogue import results
from nodes.dialogue.episodes import episode_of
from nodes.dialogue.last_words import as_markdown, last_words
from nodes.dialogue.messages import ai
from nodes.dialogue.verdicts import open_questions
from nodes.events import ErrorReported
from nodes.proof import Proof
from nodes.publish import publisher
from nodes.repository import open_workspace, thread_of
from nodes.state import State, latest, steps_of
from tools.workspace import Workspace, WorkspaceError


def missing(state: State) -> list[str]:
    """Return what a verified result would still need, the cause first. The run is verified if it is empty.

    This function alone holds the rule of what is verified.
    """
    stops = state["stops"]
    if refusal := [stop["reason"] for stop in stops if stop["kind"] == "cancelled"]:
        return refusal  # nothing was begun, so nothing else is missing
    lacks = [stop["reason"] for stop in stops if stop["kind"] != "unverified"][:1]
    lacks += [f"step {id} failed: {r['error']}" for id, r in latest(state["results"]).items() if "error" in r]
    if state["head"] == state["base"] and state["plan"]:
        lacks.append("no step changed a file")
    elif not state["check"]:
        lacks.append("the change was not run in a sandbox")
    else:
        lacks += _lacks_of_check(state, Proof.model_validate(state["check"]))
    if reason := state.get("not_the_change"):  # the second sentence at the latest
        lacks.insert(min(1, len(lacks)), f"the debugger says that this is not the change's fault: {reason}")
    # These stops ended the repairs. They are not the cause.
    return lacks + [stop["reason"] for stop in stops if stop["kind"] == "unverified"]


def _lacks_of_check(state: State, proof: Proof) -> list[str]:
    lacks = ["the newest edits were not run in a sandbox"] if proof.head != state["head"] else []
    gaps = list(proof.gaps)
    if proof.missing_environment:  # whatever else is wrong may come from it
        lacks.append(gaps.pop(0))
    lacks += proof.problems
    if not proof.green:
        lacks += [] if proof.problems else ["the check is red"]
        if proof.base_shows_it:
            lacks.append("the base fails in the same way, so no repair of the change was tried")
    lacks += gaps
    if proof.green and not proof.proves:
        lacks.append(
            "no new test fails on the base and passes on the change, and the tester gave no reason for that"
        )
    verdict = state["verdict"]
    if verdict and verdict["verdict"] == "FAIL":
        lacks += [f"the critic: {reason}" for reason in verdict["reasons"] or ["FAIL without a reason"]]
    elif proof.proves and not proof.gaps:
        if verdict is None or verdict["tree"] != proof.tree:
            lacks.append("the critic has not passed this tree")
        else:
            lacks += open_questions(proof, [state["task"], *state.get("notes", [])])
    return lacks


@dataclass(frozen=True)
class Commit:
    """Writes one commit, with its proof as a note. The branch's name says whether it is verified."""

    memory: Recollection | None = None
    secrets: tuple[str, ...] = ()

    async def __call__(self, state: State, runtime: Runtime[None]) -> State:
        """Return branch and proof, and remember a verified run. Without a change there is no branch."""
        lacks = missing(state)
        if state["head"] == state["base"] or any(stop["kind"] == "cancelled" for stop in state["stops"]):
            done: State = {"missing": lacks, "branch": None, "proof": state["check"]}
        else:
            thread, workspace = thread_of(runtime), await open_workspace(state)
            done = await asyncio.to_thread(_deliver, workspace, state, thread, lacks, self.secrets)
            if self.memory and (commit := done.get("delivered")):
                try:
                    episode = await asyncio.to_thread(episode_of, state, thread, workspace, commit)
                    await self.memory.episodes.store(episode)
                except Exception as error:  # memory is an aid, and the result stands without it
                    warning = f"this task was not remembered: {error}"
                    payload = ErrorReported(message=warning, kind="warning")
                    publisher(runtime.stream_writer, "commit")(payload)
        done["last_words"] = last_words(state)
        return done | {"messages": [ai(state["run"], "result", result_text(state, done))]}


def _deliver(
    workspace: Workspace, state: State, thread: str, lacks: list[str], secrets: tuple[str, ...]
) -> State:
    proof = _signed(state, lacks)
    tree = workspace.tree(state["head"])
    branch, commit = _target(workspace, thread, tree, verified=not lacks)
    if commit is None:
        text = _message(state, proof, tree, lacks)
        commit = workspace.deliver(branch, state["head"], state["base"], text)
    workspace.note(commit, _note(proof, spellings(secrets)) if proof else "{}")
    workspace.hold(thread, "result", commit)  # users delete branches, but the thread goes on from here
    done: State = {"missing": lacks, "branch": branch, "proof": proof.model_dump() if proof else None}
    return done if lacks else done | {"delivered": commit}


def result_text(state: State, done: State) -> str:
    """Return the result as a chat message in Markdown: what is weak or missing first, then the figures."""
    branch, lacks = done["branch"], done["missing"]
    if any(stop["kind"] == "cancelled" for stop in state["stops"]):
        return f"Nothing was changed: {lacks[0]}."
    proof = Proof.model_validate(done["proof"]) if done["proof"] else None
    weak = [f"- {weakness}" for weakness in results.weaknesses(proof, lacks)] if proof else []
    colon = ":" if weak and not lacks else "."
    said = results.quoted(done.get("last_words"))
    parts = [f"**{results.headline(proof, not lacks)}{colon}**"]
    # Ours comes first and last, so that no words of a model can pass for it.
    parts += [f"> {as_markdown(said)}", ""] if said else []
    parts[-1] = "\n".join(filter(None, [parts[-1], *(f"- {_one_line(lack)}" for lack in lacks)]))
    if weak:
        parts += ["Besides:"] if lacks else []
        parts[-1] = "\n".join(filter(None, [parts[-1], *map(_one_line, weak)]))
    parts.append(results.advice(proof, lacks))
    if branch:
        parts.append(f"The result is the branch `{branch}`.")
    parts.append("\n".join(f"- {step['description']}" for step in steps_of(state["plan"])))
    if proof:
        parts.append(f"{results.figures(proof)}.")
    return "\n\n".join(filter(None, parts))


def _one_line(text: str) -> str:
    """Return a point of a list in one line, as the text of a model may hold lines that look like ours."""
    return " ".join(text.split())


def _signed(state: State, lacks: list[str]) -> Proof | None:
    """Return the check with the task, the run, and the critic's verdict if it is on this tree."""
    if not state["check"]:
        return None
    proof, verdict = Proof.model_validate(state["check"]), state["verdict"]
    signature: dict[str, object] = {"task": state["task"], "run": state["run"], "missing": lacks}
    signature["not_the_change"] = state.get("not_the_change", "")
    if verdict and verdict["tree"] == proof.tree:
        signature |= {"verdict": verdict["verdict"], "reasons": verdict["reasons"]}
    return proof.model_copy(update=signature)


def _target(workspace: Workspace, thread: str, tree: str, verified: bool) -> tuple[str, str | None]:
    """Return the branch, and its commit if it holds this tree, because the run delivered it before a crash.

    An unverified result never replaces that of an earlier run.
    """
    name = f"autocode/{thread}" if verified else f"autocode/{thread}-unverified"
    branch, number = name, 1
    while True:
        try:
            tip = workspace.resolve(f"refs/heads/{branch}")
        except WorkspaceError:
            return branch, None
        if workspace.tree(tip) == tree:
            return branch, tip
        if verified:
            return branch, None
        number += 1
        branch = f"{name}-{number}"


def _note(proof: Proof, secrets: tuple[str, ...]) -> str:
    """Return the proof as JSON. Ids of cases keep what only looks like a token, as they are compared."""
    value: dict[str, Any] = masked(proof.model_dump(mode="json"), secrets)
    prose = ("task", "reasons", "missing", "gaps", "untestable", "not_the_change", "missing_environment")
    shown = (*prose, "failures", "problems", "old_errors")
    return json.dumps(value | {name: masked_tokens(value[name]) for name in shown}, indent=1)


def _message(state: State, proof: Proof | None, tree: str, lacks: list[str]) -> str:
    """Return a commit message: the task or what git_commit said, notes, and trailers with run and checks."""
    given = [result["message"] for result in latest(state["results"]).values() if result.get("message")]
    first, _, rest = ("\n\n".join(given) or state["task"]).strip().partition("\n")
    subject = textwrap.shorten(first, 72, placeholder="…") or "AutoCodeAI"
    whole = f"{first}\n{rest}" if subject != first else rest
    # The user's own line breaks stay, as a list or a table would be torn apart.
    lines = [textwrap.fill(line, 72) for line in whole.strip().splitlines()]
    notes = [f"The user's note: {results.line(note)}" for note in state.get("notes") or []]
    # Indented, so that no line of it can pass for a trailer.
    said = [
        textwrap.fill(words, 72, subsequent_indent="  ", break_long_words=False)
        for words in (*notes, results.quoted(last_words(state)))
    ]
    body = [subject, *filter(None, ["\n".join(lines), *said])]
    trailers = [f"Autocode-Run: {state['run']}", f"Autocode-Tree: {tree}"]
    if lacks:
        trailers.append(f"Autocode-Unverified: {results.line(lacks[0])}")
    elif proof:
        trailers += [f"Autocode-Weakness: {results.line(str(weak))}" for weak in results.weaknesses(proof)]
        proved = f"{proof.passed}/{proof.total}"
        if proof.grade == "exit code":
            proved = results.figures(proof)
        trailers.append(f"Autocode-Verified: {proved}")
    return "\n\n".join([*body, "\n".join(trailers)]) + "\n"
