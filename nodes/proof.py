"""The proof of a success: what ran, in which sandbox, on which tree, and what each case did."""

from typing import Literal

from pydantic import BaseModel, Field

CaseOutcome = Literal["passed", "failed", "error", "skipped", "absent", "unknown"]
Grade = Literal["tests", "exit code"]
Scope = Literal["all", "affected"]


class CaseProof(BaseModel, frozen=True):
    """One case on base and change. A `new` case is in a changed test file and absent from the base."""

    id: str
    base: CaseOutcome
    head: CaseOutcome
    new: bool = False

    @property
    def fail_to_pass(self) -> bool:
        """Return True if this is a new case that fails without the change and passes with it."""
        return self.new and self.head == "passed" and self.base in ("failed", "error")


class Failure(BaseModel, frozen=True):
    """A case that counts against the change, with its normalised output, cut in the middle."""

    id: str
    text: str


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
    command: list[str]
    exit_code: int
    baseline: Literal["known", "unknown"] = "known"
    scope: Scope = "all"
    cases: list[CaseProof] = Field(default_factory=list)
    green: bool
    problems: list[str] = Field(default_factory=list)
    """The reasons why the check is red, the most telling first."""
    failures: list[Failure] = Field(default_factory=list)
    vacuous: list[str] = Field(default_factory=list)
    """New cases that prove nothing, because they pass on the base too."""
    contradicted: list[str] = Field(default_factory=list)
    """Cases that the change edited, and that fail on the change with their old text."""
    sensitive: list[str] = Field(default_factory=list)
    """Changed files that may alter how pytest runs: conftest.py, configuration, plugins."""
    untestable: str = ""
    """The tester's reason for writing no test that fails on the base."""
    verdict: Literal["PASS", "FAIL", ""] = ""
    reasons: list[str] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)
    """Requirements that the result does not meet. The list is empty if the proof holds."""

    @property
    def fail_to_pass(self) -> list[str]:
        """Ids of the new cases that fail on the base and pass on the change."""
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
