# SPDX-License-Identifier: Apache-2.0
"""The running master: it follows the members, and stores what the protocol decides before it tells them."""
