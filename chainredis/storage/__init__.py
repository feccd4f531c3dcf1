"""Where the newest view is kept."""
