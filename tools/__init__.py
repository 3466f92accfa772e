"""What agents act with: snapshots, patches, outlines."""
