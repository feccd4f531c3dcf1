# SPDX-License-Identifier: Apache-2.0
"""What Python does in a server because it is embedded there."""
