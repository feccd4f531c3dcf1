# SPDX-License-Identifier: Apache-2.0
"""For operators of a running chain: what its servers say of themselves, and what to do about it."""
