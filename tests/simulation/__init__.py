# SPDX-License-Identifier: Apache-2.0
"""A simulated network of members: the compiled core in a tiny shell, with every invariant checked after every step."""
