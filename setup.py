# SPDX-License-Identifier: Apache-2.0
"""Builds what is compiled: the modules that redis-server loads, and the protocol core as an extension for the tests.

    python setup.py build_ext       from the project's root, with the Python that the master's interpreter is to be

    build/src/libmember.so          modules/member.pyx and the rooms below modules/member, each a compile unit: no
                                    interpreter, and linked so that it cannot call one
    build/src/libmaster.so          modules/master.pyx: embeds this Python, with this environment's packages
    build/src/etcd/libetcd_master.so        modules/etcd_master.pyx: likewise
    build/src/libheartbeat.so       modules/heartbeat.pyx: likewise; libmember.so opens it when it is wanted
    tests/core_extension/core.*.so  tests/core_extension/core.pyx: the core of libmember.so, importable

    pip wheel --no-deps .           a package of the four modules and of chainredis, from a fresh clone, too

CHAINREDIS_SANITIZE=1 builds the modules with AddressSanitizer and UndefinedBehaviorSanitizer into build/asan/src.
The Makefile calls this with everything that it needs in place. A wheel's build fetches what it needs of Redis itself.

Each .pyx file is a compile unit: C, then an object, made anew only if something that the unit is made of is newer.
cythonize() would take a second to find that out, and setuptools would compile all units of a library or none.
"""

import gc
import multiprocessing
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from Cython.Compiler.Main import CompilationOptions
from Cython.Compiler.Main import compile as compile_cython
from setuptools import Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SANITIZE = os.environ.get("CHAINREDIS_SANITIZE", "") not in ("", "0")
# Another Python than the clone's own builds a wheel apart: the clone's modules are to keep theirs.
APART = "bdist_wheel" in sys.argv and Path(sys.prefix) != ROOT / ".venv"
BUILD = Path("build/asan") if SANITIZE else Path("build/wheel") if APART else Path("build")
REDIS_API = BUILD / "redis-api" if SANITIZE else Path("vendor/redis-api")     # the header of Redis 7.0 and hiredis
FOLDERS = {"etcd_master": "etcd"}  # where users look for it below build/src, if not there itself
HIREDIS = REDIS_API / "deps/hiredis"
ARCHIVES = ["libhiredis_ssl.a", "libhiredis.a"]  # the first needs the second

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
# What a wheel brings along is beside the module. An RPATH, unlike a RUNPATH, holds for what those libraries need, too.
BESIDE = ["-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
COMPILE += ["-O1", *SANITIZERS] if SANITIZE else ["-O3"]
LINK += SANITIZERS if SANITIZE else []


def embedded_python() -> tuple[list[str], list[str]]:
    """Linker arguments and macros of a module with an interpreter in it: exactly the one that runs this script."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") or sys.version_info < (3, 11):
        sys.exit(f"setup.py: {sys.executable} is no shared-library build of Python 3.11 or later: use Debian's python3")
    folder = sysconfig.get_config_var("LIBDIR")
    name = f"python{sysconfig.get_python_version()}"
    # The machine's own libpython has its updates, and comes before the wheel's.
    link = [f"-L{folder}", f"-Wl,-rpath,{folder}:$ORIGIN", f"-lpython{sysconfig.get_config_var('LDVERSION')}"]
    macros = {
        "CHAINREDIS_PYTHON": sys.executable,
        "CHAINREDIS_BASE_PYTHON": f"{sys.base_exec_prefix}/bin/{name}",
        "CHAINREDIS_PYTHON_NAME": name,
        "CHAINREDIS_LIBPYTHON": sysconfig.get_config_var("INSTSONAME"),
        "CHAINREDIS_ROOT": str(ROOT),
    }
    return link, [f'-D{name}="{value}"' for name, value in macros.items()]


def redis_module(
    name: str,
    compile_args: list[str],
    link_args: list[str],
    *,
    rooms: str = "",
    archives: list[Path] | None = None,
    exports: str = "exports.map",
) -> Extension:
    """rooms: the folder of the other units that the library is linked from."""
    units = sorted(Path("modules", rooms).rglob("*.pyx")) if rooms else []
    return Extension(
        f"modules.{name}",
        [f"modules/{name}.pyx", *map(str, units)],
        include_dirs=["include", str(used_api(name).parent), str(REDIS_API), str(HIREDIS)],
        depends=["include/redismodule.h", "setup.py", str(used_api(name)), *map(str, HIREDIS.glob("*.h"))],
        extra_objects=[*map(str, archives or [])],
        extra_compile_args=COMPILE + compile_args,
        extra_link_args=[*LINK, f"-Wl,--version-script=modules/{exports}", *link_args],
    )


def extensions() -> list[Extension]:
    link_python, python_macros = embedded_python()
    # Threads of the interpreter run in these until the process ends: a dlclose must not unmap them.
    link_python_for_good = [*link_python, "-Wl,-z,nodelete"]
    # AddressSanitizer's tables refer to everything, so that all is reachable: Python's symbols must resolve.
    member_link = ["-lssl", "-lcrypto", "-lleveldb", *BESIDE, *(link_python if SANITIZE else [])]
    modules = [
        redis_module("member", [], member_link, rooms="member", archives=[HIREDIS / name for name in ARCHIVES]),
        redis_module("master", python_macros, link_python_for_good, rooms="master"),
        redis_module("etcd_master", python_macros, link_python_for_good, rooms="master"),
        redis_module("heartbeat", python_macros, link_python_for_good, exports="heartbeat.map"),
    ]
    core = Extension("core_extension.core", ["tests/core_extension/core.pyx"], extra_compile_args=["-Og", *WARNINGS])
    wanted = modules if SANITIZE else [*modules, core]
    return [extension for extension in wanted if Path(extension.sources[0]).exists()]


@cache
def made_of(path: Path) -> frozenset[Path]:
    """Names a Cython file, its declaration file, what the two cimport and include, and what those do."""
    text = path.read_text()
    names = re.findall(r"^(?:from|cimport) +(modules[\w.]*)", text, re.MULTILINE)
    stems = [Path(*name.split(".")) for name in names]
    files = {path.parent / name for name in re.findall(r"^include \"(.*)\"", text, re.MULTILINE)}
    files |= {path.with_suffix(".pxd")} if path.suffix == ".pyx" else set()
    files |= {file for stem in stems for file in (stem.with_suffix(".pxd"), stem / "__init__.pxd")}
    return frozenset({path}).union(*(made_of(file) for file in files if file.exists()))


def is_outdated(target: Path, sources: set[Path]) -> bool:
    return not target.exists() or target.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def used_api(name: str) -> Path:
    """The header that names the functions of the module API which a module uses."""
    return BUILD / "api" / name / "used_api.h"


def write_used_api(extension: Extension) -> None:
    """Looks for the names that the header offers in all that the module is made of, but for their declarations."""
    offered = set(re.findall(r"\(\*(RedisModule_\w+)\)", Path(REDIS_API, "src/redismodule.h").read_text()))
    files = {file for source in extension.sources for file in made_of(Path(source))}
    texts = [file.read_text() for file in files - {Path("modules/bindings/redismodule.pxd")}]
    named = {name for text in texts for name in re.findall(r"RedisModule_\w+", re.sub(r"#.*", "", text))}
    text = f"#define USED_API(each) {' '.join(f'each({name})' for name in sorted(offered & named))}\n"
    header = used_api(extension.name.rpartition(".")[2])
    if not header.exists() or header.read_text() != text:
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(text)


def module_of(source: str) -> str:
    """The name by which others import what is in this file."""
    return source.removesuffix(".pyx").removesuffix("/__init__").removeprefix("tests/").replace("/", ".")


def write_c(source: str, target: Path, module: str) -> bool:
    """Has Cython translate a unit. Returns False if there are errors, which Cython has printed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = CompilationOptions(
        output_file=str(target),
        include_path=["."],
        language_level=3,
        compiler_directives={"warn.undeclared": False},
    )
    errors = compile_cython(source, options, full_module_name=module).num_errors
    if errors:
        target.unlink(missing_ok=True)
    return not errors


def prepare_redis() -> None:
    """Fetches and builds what the modules need of Redis, if `make` has not: hiredis."""
    if all((HIREDIS / name).exists() for name in ARCHIVES):
        return
    need_headers()
    if not HIREDIS.exists():
        call("vendor/fetch-redis", "api", remedy="give REDIS_API_SOURCE=PATH, an archive or tree of Redis 7.0.15")
    call("make", "-C", str(HIREDIS), "--silent", "static", "USE_SSL=1", remedy="hiredis cannot be built")


def need_headers() -> None:
    """Ends the build if a header is missing, and names the packages, before anything is fetched."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    headers = {"leveldb/c.h": "libleveldb-dev", "openssl/hmac.h": "libssl-dev", "Python.h": "python3-dev"}
    preprocess = [*compiler, f"-I{sysconfig.get_path('include')}", "-E", "-"]
    if shutil.which(compiler[0]) is None or shutil.which("make") is None:
        missing = ["build-essential", *headers.values()]
    else:
        missing = [name for header, name in headers.items() if not understands(preprocess, f"#include <{header}>")]
    if missing:
        sys.exit(f"setup.py: something is missing: install Debian's {' '.join(missing)}, or the likes of these")


def understands(command: list[str], text: str) -> bool:
    return subprocess.run(command, check=False, input=f"{text}\n", text=True, capture_output=True).returncode == 0


def call(*command: str, remedy: str) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"setup.py: {command[0]} has failed: {remedy}")


class BuildModules(build_ext):
    """Puts modules/NAME.pyx where redis-server's users look for it, and core_extension.core beside its source."""

    def run(self) -> None:
        """An editable install is for the command line alone: who works on the modules runs `make`."""
        if not self.editable_mode:
            prepare_redis()
            super().run()

    def get_ext_fullpath(self, ext_name: str) -> str:
        package, name = ext_name.rsplit(".", 1)
        if package == "modules":
            return str(ROOT / BUILD / "src" / FOLDERS.get(name, "") / f"lib{name}.so")
        return str(ROOT / "tests" / package / self.get_ext_filename(name))

    def build_extensions(self) -> None:
        """Translates and compiles the units that are out of date, as many at a time as there are processors; links."""
        for extension in self.extensions:
            if extension.name.startswith("modules."):
                write_used_api(extension)
        units = {source: extension for extension in self.extensions for source in extension.sources}
        processors = os.cpu_count() or 1
        # Where pip runs this script, __main__ is another one; translators are told the function by its name there.
        vars(sys.modules["__main__"])["write_c"] = write_c
        # A translator lives for seconds: collecting garbage would take a quarter of them.
        self.translators = multiprocessing.get_context("fork").Pool(processors, gc.disable)
        with self.translators, ThreadPoolExecutor(processors) as compilers:
            objects = dict(zip(units, compilers.map(self.build_unit, units, units.values()), strict=True))
        for extension in self.extensions:
            self.link([objects[source] for source in extension.sources], extension)

    def build_unit(self, source: str, extension: Extension) -> str:
        """Returns the path of the unit's object. extension: one of those that the unit is linked into."""
        c_file = (BUILD / "cython" / source).with_suffix(".c")
        target = Path(self.build_temp) / c_file.with_suffix(".o")
        settings = {Path(name) for name in extension.depends}
        outdated = is_outdated(c_file, made_of(Path(source)) | {Path("setup.py")})
        if outdated and not self.translators.apply(write_c, (source, c_file, module_of(source))):
            sys.exit(f"setup.py: {source} is not translated")
        if self.force or is_outdated(target, {c_file, *settings}):
            self.compiler.compile(
                [str(c_file)],
                output_dir=self.build_temp,
                include_dirs=extension.include_dirs,
                extra_postargs=extension.extra_compile_args,
            )
        return str(target)

    def link(self, objects: list[str], extension: Extension) -> None:
        target = Path(self.get_ext_fullpath(extension.name))
        inputs = [*objects, *extension.extra_objects]
        if is_outdated(target, {*map(Path, inputs), Path("setup.py"), *Path("modules").glob("*.map")}):
            self.compiler.link_shared_object(inputs, str(target), extra_postargs=extension.extra_link_args)


# What is on every machine that has this Python: the C library and the C++ one, and what Debian's Python itself needs.
# libcrypto and libssl are no part of the wheel, so that the machine's updates reach the modules, too.
EVERYWHERE = re.compile(r"linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|z|expat|crypto|ssl)\.so")


class BuildPackage(build):
    """What a wheel is made of: the package, and in chainredis/modules the modules and the libraries that they need."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)   # what is no more in the tree
        extensions = self.distribution.ext_modules
        extensions[:] = [extension for extension in extensions if extension.name.startswith("modules.")]
        super().run()
        folder = Path(self.build_lib, "chainredis/modules")
        folder.mkdir(parents=True)
        modules = [Path(self.get_finalized_command("build_ext").get_ext_fullpath(each.name)) for each in extensions]
        libraries = {library for module in modules for library in libraries_of(module)}
        for file in [*modules, *libraries]:
            shutil.copy(file, folder / file.name)
        shutil.copy(HIREDIS / "COPYING", folder / "LICENSE.hiredis")
        for library in libraries:
            keep_licence(library, folder)


def libraries_of(module: Path) -> set[Path]:
    """The shared libraries that a module needs, and those that these need, but for what is everywhere."""
    found = subprocess.run(["ldd", module], check=True, capture_output=True, text=True).stdout
    if "not found" in found:
        sys.exit(f"setup.py: {module} needs libraries that are not here:\n{found}")
    return {Path(path) for name, path in re.findall(r"(\S+) => (/\S+)", found) if not EVERYWHERE.match(name)}


def keep_licence(library: Path, folder: Path) -> None:
    """Puts the licence of a library's Debian package beside the library."""
    owner = ["dpkg-query", "--search", f"*/{library.name}"]
    found = shutil.which(owner[0]) and subprocess.run(owner, check=False, capture_output=True, text=True).stdout
    package = (found or "").partition(":")[0]
    licence = Path("/usr/share/doc", package, "copyright")
    if package and licence.exists():
        shutil.copy(licence, folder / f"LICENSE.{package}")
    else:
        print(f"setup.py: the wheel lacks the licence of {library}: do not pass it on", file=sys.stderr)


if __name__ == "__main__":
    os.chdir(ROOT)
    BUILD.mkdir(parents=True, exist_ok=True)
    setup(
        name="chainredis",
        packages=find_packages(include=["chainredis*"]),
        package_dir={"": "."},  # so that an editable install is this folder on the path, and no import hook
        package_data={"chainredis": ["py.typed"]},
        cmdclass={"build": BuildPackage, "build_ext": BuildModules},
        options={"build": {"build_base": str(BUILD)}, "egg_info": {"egg_base": str(BUILD)}},
        ext_modules=extensions(),
    )
