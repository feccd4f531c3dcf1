# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""Starts the Python interpreter in the server, with the environment that the module belongs to (environment.pxd).

A module starts it when the module is loaded, on the Redis main thread, or later on a thread of its own. The main thread
gives the interpreter's lock (the GIL) back after the start, and never holds it again. If a function fails, it writes
the reason into `why`.
"""

from libc.stdio cimport snprintf

from posix.dlfcn cimport RTLD_GLOBAL, RTLD_NOW, dlerror, dlopen

from modules.bindings.pthread cimport pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock
from modules.bindings.python cimport (
    PyConfig, PyConfig_Clear, PyConfig_InitIsolatedConfig, PyConfig_SetBytesString, PyErr_Print, PyEval_SaveThread,
    PyGILState_Ensure, PyGILState_Release, PyGILState_STATE, PyImport_ImportModule, PyModuleDef, PyModule_ExecDef,
    PyModule_FromDefAndSpec, PyObject, PyObject_CallMethod, PyPreConfig, PyPreConfig_InitIsolatedConfig, PyStatus,
    PyStatus_Exception, Py_InitializeFromConfig, Py_IsInitialized, Py_None, Py_PreInitialize, Py_XDECREF,
)
from modules.python_host.environment cimport Environment, environment_find

cdef extern from *:
    """
    #include <pthread.h>
    /* One in a process, whichever objects of this project are in it: the dynamic linker makes one of all definitions
     * of a unique symbol, even of objects that were opened RTLD_LOCAL. Zeros are PTHREAD_MUTEX_INITIALIZER. */
    __asm__(".pushsection .data\\n"
            ".globl chainredis_interpreter\\n"
            ".type chainredis_interpreter, %gnu_unique_object\\n"
            ".size chainredis_interpreter, 64\\n"
            ".balign 16\\n"
            "chainredis_interpreter: .zero 64\\n"
            ".popsection\\n");
    extern __attribute__((visibility("default"))) pthread_mutex_t chainredis_interpreter;
    _Static_assert(sizeof(pthread_mutex_t) <= 64, "the mutex has room");
    """
    pthread_mutex_t chainredis_interpreter
    # Defined by setup.py.
    const char *LIBPYTHON "CHAINREDIS_LIBPYTHON"    # name of libpython, by which the linker has found it


cdef inline bint interpreter_start(char *why, size_t why_bytes) noexcept nogil:
    """Start the interpreter, unless another module of this project has started it. Returns with the GIL not held.
    Returns False on an error.

    Another module in this server may do the same on another thread, so a mutex of the process is held.
    """
    cdef bint started
    pthread_mutex_lock(&chainredis_interpreter)
    started = Py_IsInitialized() or interpreter_initialise(why, why_bytes)
    pthread_mutex_unlock(&chainredis_interpreter)
    return started


cdef inline bint interpreter_initialise(char *why, size_t why_bytes) noexcept nogil:
    cdef PyPreConfig before
    cdef PyConfig config
    cdef PyStatus status
    cdef Environment environment
    # Redis opens modules with RTLD_LOCAL, but CPython's extension modules need libpython's symbols in the global scope.
    if dlopen(LIBPYTHON, RTLD_NOW | RTLD_GLOBAL) == NULL:
        snprintf(why, why_bytes, b"Python's library cannot be made global: %s", dlerror())
        return False
    environment_find(&environment)
    PyPreConfig_InitIsolatedConfig(&before)
    before.utf8_mode = 1    # file names are UTF-8 in any locale
    status = Py_PreInitialize(&before)
    if not PyStatus_Exception(status):
        PyConfig_InitIsolatedConfig(&config)
        config.install_signal_handlers = 0      # Redis handles the signals
        status = PyConfig_SetBytesString(&config, &config.executable, environment.python)
        if not PyStatus_Exception(status):
            status = Py_InitializeFromConfig(&config)
        PyConfig_Clear(&config)
    if PyStatus_Exception(status):
        snprintf(why, why_bytes, b"Python cannot start with %s: %s", <char *>environment.python, status.err_msg)
        return False
    PyEval_SaveThread()
    return True


cdef inline bint interpreter_exec(
    const char *name, PyModuleDef *definition, char *why, size_t why_bytes,
) noexcept nogil:
    """Run the body of the Cython module whose PyInit function returned `definition`. To be called once. Returns False
    on an error.

    Cython code that handles Python objects works only after that. PyImport_AppendInittab would need to be called before
    the interpreter starts, and another module may have started it.
    """
    cdef PyGILState_STATE lock = PyGILState_Ensure()
    cdef PyObject *machinery = PyImport_ImportModule(b"importlib.machinery")
    cdef PyObject *spec = NULL
    cdef PyObject *module = NULL
    cdef bint done = False
    if machinery != NULL:
        spec = PyObject_CallMethod(machinery, b"ModuleSpec", b"sO", name, Py_None)
    if spec != NULL:
        module = PyModule_FromDefAndSpec(definition, spec)
    if module != NULL:
        done = PyModule_ExecDef(module, definition) == 0
    if not done:
        PyErr_Print()
        snprintf(why, why_bytes, b"Python started, but cannot run %s: standard error tells why", name)
    Py_XDECREF(spec)
    Py_XDECREF(machinery)
    PyGILState_Release(lock)
    return done     # `module` is not released: it must live as long as the process
