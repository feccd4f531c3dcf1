"""The running master: members are followed, and what the protocol decides is stored, then told."""
