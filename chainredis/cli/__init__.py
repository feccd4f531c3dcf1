# SPDX-License-Identifier: Apache-2.0
"""`chainredis`: the command line."""
