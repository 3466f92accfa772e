"""The proof that a success rests on: what was run, where, on which tree, and what every case did there."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

CaseOutcome = Literal["passed", "failed", "error", "skipped", "absent", "unknown"]
Grade = Literal["tests", "exit code"]
Baseline = Literal["known", "unknown"]
Scope = Literal["all", "affected"]


class CaseProof(BaseModel):
    """One case on base and change; a `new` one is in a touched test file and was absent before."""

    model_config = ConfigDict(frozen=True)

    id: str
    base: CaseOutcome
    head: CaseOutcome
    new: bool = False

    @property
    def fail_to_pass(self) -> bool:
        """True for a new case that fails without the change and passes with it."""
        return self.new and self.head == "passed" and self.base in ("failed", "error")


class Failure(BaseModel):
    """A case that counts against the change, with its output: paths normalised, cut in the middle."""

    model_config = ConfigDict(frozen=True)

    id: str
    text: str


class Proof(BaseModel):
    """One check of `head` beside `base`, written to refs/notes/autocode when it is delivered."""

    model_config = ConfigDict(frozen=True)

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
    baseline: Baseline = "known"
    scope: Scope = "all"
    cases: list[CaseProof] = Field(default_factory=list)
    green: bool
    problems: list[str] = Field(default_factory=list)
    """Why the check is red, in words, the most telling first."""
    failures: list[Failure] = Field(default_factory=list)
    vacuous: list[str] = Field(default_factory=list)
    """New cases that pass on the base too, and so prove nothing."""
    contradicted: list[str] = Field(default_factory=list)
    """Cases whose text the change edited, and whose old text fails on the change."""
    sensitive: list[str] = Field(default_factory=list)
    """Changed files that steer pytest itself: conftest.py, its configuration, plugins."""
    untestable: str = ""
    """Why the tester wrote no test that fails on the base, in its own words."""
    verdict: Literal["PASS", "FAIL", ""] = ""
    reasons: list[str] = Field(default_factory=list)
    missing: list[str] = Field(default_factory=list)
    """What a verified result would still need; empty for a proof that holds."""

    @property
    def fail_to_pass(self) -> list[str]:
        """Ids of the new cases that fail on the base and pass on the change."""
        return [case.id for case in self.cases if case.fail_to_pass]

    @property
    def passed(self) -> int:
        """How many cases passed on the change."""
        return sum(case.head == "passed" for case in self.cases)

    @property
    def total(self) -> int:
        """How many cases ran on the change, skipped ones aside."""
        return sum(case.head not in ("absent", "skipped", "unknown") for case in self.cases)

    @property
    def proves(self) -> bool:
        """True when green, with a fail-to-pass case or the tester's reason and a case that ran."""
        if not self.green:
            return False
        if self.grade == "exit code":
            return True
        return bool(self.fail_to_pass) or (bool(self.untestable) and self.passed > 0)
