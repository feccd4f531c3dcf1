"""`make bench`: this system against plain Redis, on one machine, side by side."""
