"""Delivery of a thread or run: its branch, its diff and files, and their way into the checkout and back."""

from graph.delivery.delivery import Delivery as Delivery
from graph.delivery.delivery import release_snapshots as release_snapshots
from graph.delivery.undoing import newest_application as newest_application
from graph.delivery.undoing import undo as undo
