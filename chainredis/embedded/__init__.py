"""What Python does in a server because it is embedded there."""
