"""The running master: it follows the members, and stores what the protocol decides before it tells them."""
