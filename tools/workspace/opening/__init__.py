"""The look at a repository before libgit2 opens it, so that nothing in it can hang the process."""

from tools.workspace.opening.bounds import bounded as bounded
from tools.workspace.opening.bounds import check_inside as check_inside
from tools.workspace.opening.bounds import is_bounded as is_bounded
from tools.workspace.opening.git_folder import SMALL_BYTES as SMALL_BYTES
from tools.workspace.opening.git_folder import GitFolder as GitFolder
from tools.workspace.opening.git_folder import look as look
from tools.workspace.opening.regular import open_at_once as open_at_once
from tools.workspace.opening.regular import read_file as read_file
