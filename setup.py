"""Builds what is compiled: the modules that redis-server loads, and the protocol core as an extension for the tests.

    python setup.py build_ext       from the project's root, with the Python that the master's interpreter is to be

    build/src/libmember.so              no interpreter, and linked so that it cannot call one
    build/src/libmaster.so              embeds this Python, with this environment's packages
    build/src/etcd/libetcd_master.so    likewise
    build/src/libheartbeat.so           likewise; libmember.so opens it when it is wanted
    tests/core_extension/core.*.so      the core of libmember.so, importable

A library is linked from units. A unit is what Cython makes one C file of, and the C compiler one object: only units
that are out of date are made again.

CHAINREDIS_SANITIZE=1 builds the modules with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan/src.
The Makefile calls this with everything that it needs in place.
"""

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

ROOT = Path(__file__).resolve().parent
SANITIZE = os.environ.get("CHAINREDIS_SANITIZE", "") not in ("", "0")
BUILD = Path("build/asan") if SANITIZE else Path("build")
REDIS = BUILD / "redis" if SANITIZE else Path("vendor/redis")
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


@dataclass(frozen=True)
class Library:
    """A shared object that redis-server loads. path: below build/src, where users look for it."""

    path: str
    units: list[str]
    link: list[str]
    exports: str = "exports.map"


def libraries(link_python: list[str]) -> list[Library]:
    # Threads of the interpreter run in these until the process ends: a dlclose must not unmap them.
    for_good = [*link_python, "-Wl,-z,nodelete"]
    # AddressSanitizer's tables refer to everything, so that all is reachable: Python's symbols must resolve.
    member_link = [str(HIREDIS / "libhiredis.a"), "-lcrypto", "-lleveldb", *(link_python if SANITIZE else [])]
    embedded = "modules/master/embedded.pyx"
    return [
        Library("libmember.so", ["modules/member.pyx"], member_link),
        Library("libmaster.so", ["modules/master.pyx", embedded], for_good),
        Library("etcd/libetcd_master.so", ["modules/etcd_master.pyx", embedded], for_good),
        Library("libheartbeat.so", ["modules/heartbeat.pyx"], for_good, "heartbeat.map"),
    ]


LINK_PYTHON, PYTHON_MACROS = embedded_python()
LIBRARIES = libraries(LINK_PYTHON)


def dotted(source: str) -> str:
    return source.removesuffix(".pyx").replace("/", ".")


def unit(source: str) -> Extension:
    return Extension(
        dotted(source),
        [source],
        include_dirs=["include", str(REDIS), str(HIREDIS)],
        depends=["include/redismodule.h", "setup.py"],
        extra_compile_args=[*COMPILE, *PYTHON_MACROS],
    )


def extensions() -> list[Extension]:
    units = [unit(source) for source in dict.fromkeys(source for each in LIBRARIES for source in each.units)]
    core = Extension("core_extension.core", ["tests/core_extension/core.pyx"], extra_compile_args=["-O2", *WARNINGS])
    return units if SANITIZE else [*units, core]


class BuildLibraries(build_ext):
    """Compiles units, several at a time, then links the libraries; the tests' core is an extension like any other."""

    def build_extensions(self) -> None:
        super().build_extensions()
        for library in LIBRARIES:
            self.link(library)

    def build_extension(self, ext: Extension) -> None:
        if not ext.name.startswith("modules."):
            super().build_extension(ext)
        elif newer_group([*ext.sources, *ext.depends], self.object_of(ext.name)):
            self.compiler.compile(
                ext.sources, self.build_temp, include_dirs=ext.include_dirs, extra_postargs=ext.extra_compile_args
            )

    def link(self, library: Library) -> None:
        target = ROOT / BUILD / "src" / library.path
        exports = f"modules/{library.exports}"
        objects = [self.object_of(dotted(source)) for source in library.units]
        if newer_group([*objects, exports, "setup.py"], str(target)):
            arguments = [*LINK, f"-Wl,--version-script={exports}", *library.link]
            self.compiler.link_shared_object(objects, str(target), extra_postargs=arguments)

    def object_of(self, name: str) -> str:
        return f"{self.build_temp}/{BUILD}/cython/{name.replace('.', '/')}.o"

    def get_ext_fullpath(self, ext_name: str) -> str:
        return str(ROOT / "tests" / self.get_ext_filename(ext_name))


if __name__ == "__main__":
    os.chdir(ROOT)
    setup(
        name="chainredis",
        packages=find_packages(include=["chainredis*"]),
        cmdclass={"build_ext": BuildLibraries},
        options={"build": {"build_base": str(BUILD)}, "build_ext": {"parallel": os.cpu_count() or 1}},
        ext_modules=cythonize(
            extensions(),
            nthreads=os.cpu_count() or 1,
            include_path=["."],
            build_dir=str(BUILD / "cython"),
            language_level=3,
            compiler_directives={"warn.undeclared": False},
        ),
    )
