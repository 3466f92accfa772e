"""Checks: a repository's tests run on base and change, compared case by case into a proof."""

from nodes.check.check_node import Check
from nodes.check.comparison import compare, remarks
from nodes.check.executor import CheckCache
from nodes.check.prove import prove
from nodes.check.suite import NoSuite, Suite, recognise
from nodes.check.surroundings import Surroundings
from nodes.check.tryout import Tryout

__all__ = [
    "Check",
    "CheckCache",
    "NoSuite",
    "Suite",
    "Surroundings",
    "Tryout",
    "compare",
    "prove",
    "recognise",
    "remarks",
]
