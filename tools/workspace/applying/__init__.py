"""Application of a result to the user's checkout, with a journal for the case that it is interrupted."""

from tools.workspace.applying.apply import apply as apply
from tools.workspace.applying.journal import check_finished as check_finished
from tools.workspace.applying.journal import recover as recover
