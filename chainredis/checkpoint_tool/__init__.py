# SPDX-License-Identifier: Apache-2.0
"""Reads checkpoints on disk while their server is down."""
