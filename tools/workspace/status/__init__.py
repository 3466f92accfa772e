"""The state of a checkout's files: what the user changed, and how long it takes to compare."""

from tools.workspace.status.checkout_look import MOST_STEPS as MOST_STEPS
from tools.workspace.status.checkout_look import QUICK_STEPS as QUICK_STEPS
from tools.workspace.status.checkout_look import look_along as look_along
from tools.workspace.status.checkout_look import look_at_checkout as look_at_checkout
from tools.workspace.status.status_process import collect_apart as collect_apart
from tools.workspace.status.work_in_progress import WorkInProgress as WorkInProgress
from tools.workspace.status.work_in_progress import collect as collect
from tools.workspace.status.work_in_progress import has_filter as has_filter
