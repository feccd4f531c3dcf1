"""Builds what is compiled: the modules that redis-server loads, and the protocol core as an extension for the tests.

    python setup.py build_ext       from the project's root, with the Python that the master's interpreter is to be

    build/src/libmember.so          modules/member.pyx: no interpreter, and linked so that it cannot call one
    build/src/libmaster.so          modules/master.pyx: embeds this Python, with this environment's packages
    build/src/etcd/libetcd_master.so        modules/etcd_master.pyx: likewise
    build/src/libheartbeat.so       modules/heartbeat.pyx: likewise; libmember.so opens it when it is wanted
    tests/core_extension/core.*.so  tests/core_extension/core.pyx: the core of libmember.so, importable

CHAINREDIS_SANITIZE=1 builds the modules with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan/src.
The Makefile calls this with everything that it needs in place.
"""

import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SANITIZE = os.environ.get("CHAINREDIS_SANITIZE", "") not in ("", "0")
BUILD = Path("build/asan") if SANITIZE else Path("build")
REDIS = BUILD / "redis" if SANITIZE else Path("vendor/redis")
FOLDERS = {"etcd_master": "etcd"}  # where users look for it below build/src, if not there itself
HIREDIS = REDIS / "deps/hiredis"

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-discarded-qualifiers",  # Cython's temporaries drop the const of what they hold
    "-Wno-maybe-uninitialized",  # a guess, which cannot see that a batch was checked whole before it is unpacked
    "-Wno-unused-parameter",  # callbacks take what Redis hands them; METH_NOARGS functions take an unused argument
]
# Hidden symbols bind within the object: neither the server, which exports its own hiredis and lists, nor another
# module can put its function in the place of ours, and variables of the module API need no indirection.
COMPILE = ["-g", "-fPIC", "-fvisibility=hidden", "-fno-semantic-interposition", *WARNINGS]
COMPILE += ["-ffunction-sections", "-fdata-sections"]
LINK = ["-Wl,--exclude-libs,ALL", "-Wl,--no-undefined"]
# Unreachable code goes, Cython's own module initialisation included: what libmember.so keeps does not refer to Python.
LINK += ["-Wl,--gc-sections", "-Wl,-z,now"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
COMPILE += ["-O1", *SANITIZERS] if SANITIZE else ["-O3"]
LINK += SANITIZERS if SANITIZE else []


def embedded_python() -> tuple[list[str], list[str]]:
    """Linker arguments and macros of a module with an interpreter in it: exactly the one that runs this script."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or sys.version_info < (3, 11):
        sys.exit(f"setup.py: {sys.executable} is no shared-library build of Python 3.11 or later: use Debian's python3")
    folder = sysconfig.get_config_var("LIBDIR")
    link = [f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{sysconfig.get_config_var('LDVERSION')}"]
    macros = {
        "CHAINREDIS_PYTHON": sys.executable,
        "CHAINREDIS_LIBPYTHON": f"{folder}/{sysconfig.get_config_var('INSTSONAME')}",
        "CHAINREDIS_ROOT": str(ROOT),
    }
    return link, [f'-D{name}="{value}"' for name, value in macros.items()]


def redis_module(
    name: str, compile_args: list[str], link_args: list[str], archives: list[Path], exports: str = "exports.map"
) -> Extension:
    return Extension(
        f"modules.{name}",
        [f"modules/{name}.pyx"],
        include_dirs=["include", str(REDIS), str(HIREDIS)],
        depends=["include/redismodule.h", f"modules/{exports}", "setup.py"],
        extra_objects=[str(path) for path in archives],
        extra_compile_args=COMPILE + compile_args,
        extra_link_args=[*LINK, f"-Wl,--version-script=modules/{exports}", *link_args],
    )


def extensions() -> list[Extension]:
    link_python, python_macros = embedded_python()
    # Threads of the interpreter run in these until the process ends: a dlclose must not unmap them.
    link_python_for_good = [*link_python, "-Wl,-z,nodelete"]
    # AddressSanitizer's tables refer to everything, so that all is reachable: Python's symbols must resolve.
    member_link = ["-lcrypto", "-lleveldb", *(link_python if SANITIZE else [])]
    modules = [
        redis_module("member", [], member_link, [HIREDIS / "libhiredis.a"]),
        redis_module("master", python_macros, link_python_for_good, []),
        redis_module("etcd_master", python_macros, link_python_for_good, []),
        redis_module("heartbeat", python_macros, link_python_for_good, [], "heartbeat.map"),
    ]
    core = Extension("core_extension.core", ["tests/core_extension/core.pyx"], extra_compile_args=["-O2", *WARNINGS])
    wanted = modules if SANITIZE else [*modules, core]
    return [extension for extension in wanted if Path(extension.sources[0]).exists()]


class BuildModules(build_ext):
    """Puts modules/NAME.pyx where redis-server's users look for it, and core_extension.core beside its source."""

    def get_ext_fullpath(self, ext_name: str) -> str:
        package, name = ext_name.rsplit(".", 1)
        if package == "modules":
            return str(ROOT / BUILD / "src" / FOLDERS.get(name, "") / f"lib{name}.so")
        return str(ROOT / "tests" / package / self.get_ext_filename(name))


if __name__ == "__main__":
    os.chdir(ROOT)
    setup(
        name="chainredis",
        packages=find_packages(include=["chainredis*"]),
        cmdclass={"build_ext": BuildModules},
        options={"build": {"build_base": str(BUILD)}, "build_ext": {"parallel": os.cpu_count() or 1}},
        ext_modules=cythonize(
            extensions(),
            include_path=["."],
            build_dir=str(BUILD / "cython"),
            language_level=3,
            compiler_directives={"warn.undeclared": False},
        ),
    )
