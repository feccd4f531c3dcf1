"""Backups: a member's RDB, made readable for a server without modules."""
