"""The tools of the agents: snapshots, patches, outlines."""
