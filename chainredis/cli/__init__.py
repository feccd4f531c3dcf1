"""`python -m chainredis`: the command line."""
