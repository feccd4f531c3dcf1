"""Where the newest configuration is kept."""
