"""Application of a result to the user's checkout, with a journal for the case that it is interrupted."""

from tools.workspace.applying.apply import Applying as Applying
from tools.workspace.applying.apply import Undone as Undone
from tools.workspace.applying.hunks import ChangedFile as ChangedFile
from tools.workspace.applying.hunks import FileHunk as FileHunk
from tools.workspace.applying.hunks import Selection as Selection
from tools.workspace.applying.hunks import changed_files as changed_files
from tools.workspace.applying.hunks import select as select
from tools.workspace.applying.hunks import shown_path as shown_path
from tools.workspace.applying.journal import check_finished as check_finished
from tools.workspace.applying.journal import recover as recover
from tools.workspace.applying.records import Application as Application
from tools.workspace.applying.records import ApplyRecord as ApplyRecord
