"""The tools that a step of a plan can name: typed parameters, effects and argument lists."""

from tools.catalogue.outside import OutsidePlace, OutsideResult, OutsideWork
from tools.catalogue.table import TOOLS, describe, read_call
from tools.catalogue.tool import Effect, InvalidCall, PlanTool, ToolOutput

__all__ = [
    "TOOLS",
    "Effect",
    "InvalidCall",
    "OutsidePlace",
    "OutsideResult",
    "OutsideWork",
    "PlanTool",
    "ToolOutput",
    "describe",
    "read_call",
]
