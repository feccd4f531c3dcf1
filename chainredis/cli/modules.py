# SPDX-License-Identifier: Apache-2.0
"""`chainredis modules`: where the modules are that redis-server loads."""

import argparse

from chainredis.cli.subcommands import AddParser
from chainredis.local_cluster.server import module_path

FILES = {"member": "libmember.so", "master": "libmaster.so", "etcd-master": "etcd/libetcd_master.so"}


def register(add_parser: AddParser) -> None:
    parser = add_parser(
        "modules",
        help="print the paths of the modules, or of one",
        epilog="for example `redis-server --loadmodule $(chainredis modules member)`",
    )
    parser.add_argument("module", nargs="?", choices=tuple(FILES), help="print the path of this one alone")
    parser.set_defaults(call=show)


def show(options: argparse.Namespace) -> None:
    """LauncherError if a module is not there."""
    if options.module:
        print(module_path(FILES[options.module]))
        return
    for name, file in FILES.items():
        print(f"{name:12} {module_path(file)}")
