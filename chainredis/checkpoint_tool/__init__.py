"""Reads checkpoints on disk while their server is down."""
