"""The project's style, as far as a machine can judge it: lengths, layers, and no interpreter where none may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 600
SOURCES = ("*.py", "*.pyi", "*.pyx", "*.pxd", "*.h", "*.toml", "Makefile", "setup.py")
FETCHED = ("redis", "etcd", ".fetch", ".fetch-etcd")     # by the scripts in vendor/
FOLDERS = ("chainredis", "modules", "include", "tests", "benchmarks", "scripts", "vendor", ".ci")
GENERATED = ROOT / "build/cython/modules"   # where setup.py has Cython write C

# What of Cython's own may stand in a function without the interpreter: an attribute of variables that are not used, and
# division and remainder that round as Python's do, which are plain C.
HARMLESS = re.compile(r"CYTHON_UNUSED|__Pyx_(div|mod)_\w+")
# The only C functions of a master that may refer to Python: at loading, and on its worker threads.
MASTER_WITH_PYTHON = {
    "interpreter_start", "interpreter_initialise", "interpreter_exec", "prepare_python", "python_module",
    "start_python", "setting_text", "carry_out", "finish", "make_outcome", "make_text",
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def source_files() -> list[Path]:
    tops = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    nested = [
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".so", ".pyc", ".png", ".json", ".csv"}
        and path.relative_to(ROOT).parts[1] not in FETCHED
    ]
    return tops + nested


def cython_files() -> list[Path]:
    return sorted([*(ROOT / "modules").rglob("*.pxd"), *(ROOT / "modules").rglob("*.pyx")])


@pytest.mark.parametrize("path", source_files(), ids=relative)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


# ------------------------------------------------------------------------------------------------- layers

def cython_imports(path: Path) -> set[str]:
    """What a Cython file takes from elsewhere: modules that it cimports or imports, and C headers."""
    text = path.read_text()
    modules = re.findall(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+))", text, re.MULTILINE)
    headers = re.findall(r"^\s*cdef extern from\s+\"([^\"]+)\"", text, re.MULTILINE)
    return {first or second for first, second in modules} | set(headers)


def python_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "modules/core").glob("*.pxd")), ids=relative)
def test_the_core_knows_neither_redis_nor_a_socket(path: Path) -> None:
    allowed = re.compile(r"libc\.(stdint|stdlib|string)|modules\.core\.\w+")
    assert {name for name in cython_imports(path) if not allowed.fullmatch(name)} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "modules/shell").rglob("*.pxd")), ids=relative)
def test_the_member_does_not_know_python(path: Path) -> None:
    forbidden = re.compile(r"modules\.(python|bridge)|cpython|Python\.h")
    assert {name for name in cython_imports(path) if forbidden.match(name)} == set()


def test_only_its_own_package_knows_etcd() -> None:
    """But for the commands that start one, when they are asked to."""
    files = {path for path in (ROOT / "chainredis").rglob("*.py") if path.parent.name != "etcd"}
    users = {relative(path) for path in files if any("etcd" in name for name in python_imports(path))}
    assert users == {"chainredis/command_bench_etcd.py", "chainredis/command_run.py"}


@pytest.mark.parametrize("name", ["view", "transitions"])
def test_the_masters_decisions_do_no_io(name: str) -> None:
    pure = {"collections.abc", "dataclasses", "enum", "functools", "itertools", "re", "typing"}
    ours = {"chainredis.errors", "chainredis.view"}
    assert python_imports(ROOT / f"chainredis/{name}.py") <= pure | ours


def test_the_redis_api_enters_through_one_header() -> None:
    users = {relative(path) for path in cython_files() if "redismodule.h" in cython_imports(path)}
    assert users == {"modules/redismodule.pxd"}


@pytest.mark.parametrize("path", cython_files(), ids=relative)
def test_nothing_of_libcs_own_is_to_be_freed_here(path: Path) -> None:
    """It is from the server's allocator, which another than a module's may be (modules/shell/allocators.pxd)."""
    allocate = r"\b(w?c?strn?dup|v?asprintf|getline|getdelim|scandir|open_(?:w|)memstream|canonicalize_file_name)\("
    assert re.findall(rf"{allocate}|\b(?:realpath|getcwd)\([^)]*NULL", path.read_text()) == []


@pytest.mark.parametrize(("name", "only"), [
    ("leveldb_open", "modules/shell/checkpoint/database.pxd"),          # its lock: each process once
    ("leveldb_destroy_db", "modules/shell/checkpoint/database.pxd"),
    ("leveldb_iter_key", "modules/shell/checkpoint/database.pxd"),      # where the iterator is valid
    ("leveldb_iter_value", "modules/shell/checkpoint/database.pxd"),
    ("pthread_create", "modules/shell/threads.pxd"),                    # deaf to signals
])
def test_what_is_dangerous_is_done_in_one_place(name: str, only: str) -> None:
    users = {relative(path) for path in cython_files() if re.search(rf"\b{name}\b", path.read_text())}
    assert users - {"modules/leveldb.pxd", "modules/pthread.pxd"} == {only}


@pytest.mark.parametrize("path", sorted((ROOT / "modules/core").glob("*.pxd")), ids=relative)
def test_the_cores_tables_lie_where_the_server_counts_them(path: Path) -> None:
    assert path.name == "memory.pxd" or not re.search(r"\b(malloc|calloc|realloc|free)\b\(", path.read_text())


# ------------------------------------------------------------------------------- no interpreter, in the source

def nogil_functions(path: Path) -> Iterator[tuple[str, str]]:
    """Header and body of each function that is declared to run without the interpreter's lock."""
    pattern = r"^(cdef [^\n]*\((?:[^:]|:(?!\n))*?nogil:)\n((?:[ \t]+[^\n]*\n|\n)+)"
    for match in re.finditer(pattern, path.read_text(), re.MULTILINE):
        yield match[1], match[2]


def test_nogil_functions_are_found() -> None:
    functions = dict(nogil_functions(ROOT / "modules/core/chain.pxd"))
    assert len(functions) > 30
    assert any("chain_adopt" in header for header in functions)


@pytest.mark.parametrize("path", cython_files(), ids=relative)
def test_nogil_functions_never_raise_nor_take_the_lock(path: Path) -> None:
    # Cython compiles a raise inside `noexcept nogil`: it takes the lock, and then swallows the exception.
    forbidden = re.compile(r"^\s*(raise\b|assert\b|with gil\b|print\()", re.MULTILINE)
    assert [header for header, body in nogil_functions(path) if forbidden.search(body)] == []


# -------------------------------------------------------------------------- no interpreter, in the generated C

def compiled_functions(name: str) -> dict[str, set[str]]:
    """The C functions that Cython made of a module's own, each with what it uses of Python or of Cython's run time."""
    text = (GENERATED / f"{name}.c").read_text()
    functions = {}
    for match in re.finditer(r"^(?!//)[^\n#;]*\b(__pyx_f_\w+|RedisModule_On\w+)\([^\n;]*\) \{\n(.*?)^\}$", text,
                             re.MULTILINE | re.DOTALL):
        body = re.sub(r"/\*.*?\*/|\"(\\.|[^\"\\])*\"", "", match[2], flags=re.DOTALL)
        used = set(re.findall(r"\b(?:_?Py|__Pyx|__PYX|CYTHON)\w*", body))
        functions[match[1]] = {identifier for identifier in used if not HARMLESS.fullmatch(identifier)}
    return functions


def test_no_function_of_the_member_uses_python() -> None:
    functions = compiled_functions("member")
    assert len(functions) > 100
    assert {name: used for name, used in functions.items() if used} == {}


@pytest.mark.parametrize("name", ["master", "etcd_master"])
def test_the_masters_handlers_use_no_python(name: str) -> None:
    functions = compiled_functions(name)
    with_python = {name for name, used in functions.items() if used}
    unexpected = {name for name in with_python if not name.endswith(tuple(MASTER_WITH_PYTHON))}
    assert unexpected == set()
    assert sum("_handle_" in name for name in functions) == 6


def output(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_member_is_linked_without_python() -> None:
    library = ROOT / "build/src/libmember.so"
    assert "libpython" not in output("readelf", "--wide", "--dynamic", library)
    assert re.findall(r"\b_?Py\w+", output("readelf", "--wide", "--dyn-syms", library)) == []


def defined_symbols(library: str) -> set[str]:
    symbols = output("readelf", "--wide", "--dyn-syms", ROOT / "build/src" / library)
    return set(re.findall(r"(?:FUNC|OBJECT)\s+(?:GLOBAL|WEAK|UNIQUE)\s+\w+\s+\d+\s+(\S+)", symbols))


@pytest.mark.parametrize("library", ["libmember.so", "libmaster.so", "etcd/libetcd_master.so"])
def test_a_module_exports_what_redis_looks_for_and_nothing_else(library: str) -> None:
    defined = defined_symbols(library)
    assert defined <= {"RedisModule_OnLoad", "RedisModule_OnUnload", "chainredis_interpreter"}
    assert "RedisModule_OnLoad" in defined


def test_the_heartbeat_exports_what_the_member_looks_for_and_nothing_else() -> None:
    assert defined_symbols("libheartbeat.so") == {"heartbeat_connect", "chainredis_interpreter"}


# ------------------------------------------------------------------------------------------------ the rest

def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    shown = output("make", "--no-print-directory", "help")
    assert set(re.findall(r"^make ([\w-]+) +\S", shown, re.MULTILINE)) == set(phony[1].split())


def test_requirements_are_pinned_and_complete() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if line)
    frozen = output(sys.executable, "-m", "pip", "freeze", "--all").lower().replace("_", "-")
    installed = dict(line.split("==") for line in frozen.splitlines() if "==" in line)
    assert {name: version for name, version in installed.items() if name != "pip"} == pinned
