"""Backups: makes a member's RDB readable for servers without the modules."""
