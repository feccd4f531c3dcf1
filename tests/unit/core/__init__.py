"""The protocol core (modules/core), one event at a time."""
