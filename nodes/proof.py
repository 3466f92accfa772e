"""The proof of a success: what ran, in which sandbox, on which tree, and what each case did."""

from typing import Literal

from pydantic import BaseModel, Field

CaseOutcome = Literal["passed", "failed", "error", "skipped", "absent", "unknown"]
Grade = Literal["tests", "exit code"]
Scope = Literal["all", "affected"]

FAILED = ("failed", "error")
"""The outcomes of a case that ran and did not pass."""


class CaseProof(BaseModel, frozen=True):
    """One case on base and change. A `new` case is in a changed test file and absent from the base."""

    id: str
    base: CaseOutcome
    head: CaseOutcome
    new: bool = False
    sharpened: bool = False
    """True if the case is the base's too, but fails on the base with the text that the change gave it."""
    idle: bool = False
    """True if the case failed on the base only because a name is missing, and notices no mutant."""

    @property
    def fail_to_pass(self) -> bool:
        """Return True if this is a new or sharpened case that fails without the change and passes with it."""
        fails = self.sharpened or (self.new and self.base in FAILED)
        return fails and not self.idle and self.head == "passed"


class Failure(BaseModel, frozen=True):
    """A case that counts against the change, with its normalised output, cut in the middle."""

    id: str
    text: str


class Uncollected(BaseModel, frozen=True):
    """A test module of the base that cannot be imported or collected, there and on the change."""

    file: str
    reason: str


class Suspicion(BaseModel, frozen=True):
    """A place in the change that may deceive a check. `answer` is the critic's, empty without one."""

    file: str
    line: int
    text: str
    answer: str = ""


class Strength(BaseModel, frozen=True):
    """The mutants of the change that the tests noticed, out of those that were tried."""

    killed: int
    tried: int
    untried: int = 0
    """Mutants that there was no time for."""

    @property
    def share(self) -> str:
        """The mutants that were noticed, such as `9 of 10`."""
        return f"{self.killed} of {self.tried}"

    @property
    def rest(self) -> str:
        """The mutants that were not tried, such as ` (no time for 6 more)`, empty if all were."""
        return f" (no time for {self.untried} more)" if self.untried else ""


class Unguarded(BaseModel, frozen=True):
    """Lines of the change that no test guards. Lines count from 1, `last` is included.

    `mutant` says how they were broken without any test noticing.
    """

    file: str
    first: int
    last: int
    mutant: str

    @property
    def place(self) -> str:
        """The file and its lines, with an en dash between the first and the last."""
        return f"{self.file} {self.first}" + (f"\u2013{self.last}" if self.last > self.first else "")


class EnvironmentProof(BaseModel, frozen=True):
    """An environment that tests ran in: its key, the package folder it is for, and what it was made from."""

    key: str
    folder: str = ""
    side: Literal["base and change", "base", "change"] = "base and change"
    sources: list[str] = Field(default_factory=list)
    commands: list[str] = Field(default_factory=list)


class Proof(BaseModel, frozen=True):
    """One check of `head` beside `base`. Delivery writes it to refs/notes/autocode."""

    task: str = ""
    run: str = ""
    base: str
    head: str
    tree: str
    grade: Grade = "tests"
    backend: str
    image: str
    environments: list[EnvironmentProof] = Field(default_factory=list)
    """Empty if the tests ran with pytest alone."""
    missing_environment: str = ""
    """The reason why an environment that the tests need was not there, empty if all was."""
    command: list[str]
    exit_code: int
    baseline: Literal["known", "unknown"] = "known"
    baseline_reason: str = ""
    """The reason why the base's cases are unknown, empty if they are known."""
    scope: Scope = "all"
    scope_reason: str = ""
    """The reason why only affected tests ran, and the way to run all. Empty if all ran."""
    cases: list[CaseProof] = Field(default_factory=list)
    green: bool
    problems: list[str] = Field(default_factory=list)
    """The reasons why the check is red, the most telling first."""
    failures: list[Failure] = Field(default_factory=list)
    vacuous: list[str] = Field(default_factory=list)
    """New cases that prove nothing, because they pass on the base too, or are idle."""
    guards: list[str] = Field(default_factory=list)
    """New cases that pass on the base too, and fail when what the change edits is broken."""
    contradicted: list[str] = Field(default_factory=list)
    """Cases of the base's tests, in the base's version, that passed on the base and fail on the change.

    With a suite that is graded by its exit code, the command.
    """
    old_errors: dict[str, str] = Field(default_factory=dict)
    """By contradicted case, the error of the base's version on the change."""
    demanded: dict[str, str] = Field(default_factory=dict)
    """By contradicted case, the sentence of the task that demands it, as the critic quotes it."""
    unsteady: list[str] = Field(default_factory=list)
    """Cases that failed on the change beside other runs, and then passed alone or failed on the base too."""
    suspicious: list[Suspicion] = Field(default_factory=list)
    """Places in the change that may alter how tests run or report, or that behave differently in tests."""
    sensitive: list[str] = Field(default_factory=list)
    """Changed files that may alter how pytest runs: conftest.py, configuration, plugins."""
    uncollected: list[Uncollected] = Field(default_factory=list)
    gaps: list[str] = Field(default_factory=list)
    """The reasons why the change is not verified although its check is green. No repair cures them."""
    base_shows_it: bool = False
    """True if the check is red in a way that the base shows too, so that the change cannot be the cause."""
    strength: Strength | None = None
    """None if no mutant was tried."""
    unguarded: list[Unguarded] = Field(default_factory=list)
    untestable: str = ""
    """The tester's reason for writing no test that fails on the base."""
    consent: bool = False
    """True if the critic agrees with `untestable`."""
    not_the_change: str = ""
    """The debugger's reason why the failures are not the change's."""
    verdict: Literal["PASS", "FAIL", ""] = ""
    reasons: list[str] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)
    """Requirements that the result does not meet. The list is empty if the proof holds."""

    @property
    def fail_to_pass(self) -> list[str]:
        """Ids of the new and sharpened cases that fail on the base and pass on the change."""
        return [case.id for case in self.cases if case.fail_to_pass]

    @property
    def passed(self) -> int:
        """The number of cases that passed on the change."""
        return sum(case.head == "passed" for case in self.cases)

    @property
    def total(self) -> int:
        """The number of cases that ran on the change, without skipped ones."""
        return sum(case.head not in ("absent", "skipped", "unknown") for case in self.cases)

    @property
    def proves(self) -> bool:
        """Return True if green, with a fail-to-pass case, or the tester's reason and a passed case."""
        if not self.green:
            return False
        if self.grade == "exit code":
            return True
        return bool(self.fail_to_pass) or (bool(self.untestable) and self.passed > 0)


class ResultSummary(BaseModel, frozen=True):
    """A result as people read it. `weaknesses` are sentences, the weightiest first."""

    headline: str
    weaknesses: list[str] = Field(default_factory=list)
    figures: str = ""
    advice: str = ""
    words: str = ""
    """The last agent's own words, marked as such. Everything else is ours."""
