# SPDX-License-Identifier: Apache-2.0
"""`python -m chainredis`: the command line."""
