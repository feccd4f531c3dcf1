# SPDX-License-Identifier: Apache-2.0
"""Backups: makes a member's RDB readable for servers without the modules."""
