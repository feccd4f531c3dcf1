# SPDX-License-Identifier: Apache-2.0
"""`make bench`: this system against plain Redis, on one machine, side by side."""
