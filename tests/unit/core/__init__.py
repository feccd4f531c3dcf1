# SPDX-License-Identifier: Apache-2.0
"""The protocol core (modules/core), one event at a time."""
