"""Connections to members, and what their failures mean."""
