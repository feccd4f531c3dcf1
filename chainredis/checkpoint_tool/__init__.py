"""Checkpoints on disk, read while their server is down."""
