# SPDX-License-Identifier: Apache-2.0
"""Connections to members, and what their failures mean."""
