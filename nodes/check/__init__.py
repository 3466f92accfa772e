"""Checks: a repository's tests run on base and change, compared case by case into a proof."""

from nodes.check.check_node import Check
from nodes.check.comparison import compare, remarks
from nodes.check.execution.executor import CheckCache
from nodes.check.execution.package_sandboxes import PackageSandboxes
from nodes.check.prove import prove
from nodes.check.suites.config import NoSuite
from nodes.check.suites.suite import Suite, recognise
from nodes.check.tryout import Tryout

__all__ = [
    "Check",
    "CheckCache",
    "NoSuite",
    "PackageSandboxes",
    "Suite",
    "Tryout",
    "compare",
    "prove",
    "recognise",
    "remarks",
]
