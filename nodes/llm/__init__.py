"""Models answer calls: by mode and agent, within a budget, through retries, each paid for once."""
