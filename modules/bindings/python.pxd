# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The part of CPython's C API that embeds an interpreter, where Cython does not generate the calls. Extern only."""

from libc.stddef cimport wchar_t

cdef extern from "Python.h" nogil:
    ctypedef struct PyObject:
        pass
    ctypedef struct PyModuleDef:
        pass

    # ---- starting the interpreter
    ctypedef struct PyStatus:
        const char *err_msg

    ctypedef struct PyPreConfig:
        int utf8_mode

    ctypedef struct PyConfig:
        int install_signal_handlers
        wchar_t *executable

    ctypedef struct PyThreadState:
        pass

    int PyStatus_Exception(PyStatus)
    void PyPreConfig_InitIsolatedConfig(PyPreConfig *)
    PyStatus Py_PreInitialize(const PyPreConfig *)
    void PyConfig_InitIsolatedConfig(PyConfig *)
    void PyConfig_Clear(PyConfig *)
    PyStatus PyConfig_SetBytesString(PyConfig *, wchar_t **field, const char *)
    PyStatus Py_InitializeFromConfig(const PyConfig *)
    int Py_IsInitialized()
    PyThreadState *PyEval_SaveThread()

    # ---- taking the GIL where Cython cannot do it yet
    ctypedef enum PyGILState_STATE:
        pass
    PyGILState_STATE PyGILState_Ensure()
    void PyGILState_Release(PyGILState_STATE)

    # ---- making a module of a definition, in an interpreter that runs already
    PyObject *PyImport_ImportModule(const char *)
    PyObject *PyObject_CallMethod(PyObject *, const char *name, const char *format, ...)
    PyObject *PyModule_FromDefAndSpec(PyModuleDef *, PyObject *spec)
    int PyModule_ExecDef(PyObject *module, PyModuleDef *)
    PyObject *Py_None
    void Py_XDECREF(PyObject *)
    void PyErr_Print()
