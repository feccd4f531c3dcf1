# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Included by core.pyx: what finds the ends of commands in a stream of effects, and the tickets of held replies.

cdef class Scanner:
    """One connection's `EffectScanner`."""

    cdef effect_scanner.EffectScanner s

    def __cinit__(self, bint of_file=False):
        memset(&self.s, 0, sizeof(self.s))
        self.s.of_file = of_file

    @property
    def record_end(self): return self.s.record_end

    @property
    def database(self): return self.s.database

    def scan(self, bytes piece):
        """How many bytes of the piece go up to the last end of a command or transaction. -1: no stream of commands."""
        return effect_scanner.scan(&self.s, PyBytes_AS_STRING(piece), len(piece))


cdef class Tickets:
    """One member's `Tickets`."""

    cdef tickets.Tickets t

    def __cinit__(self):
        tickets.tickets_init(&self.t)

    def __dealloc__(self):
        tickets.tickets_free(&self.t)

    @property
    def newest(self): return self.t.newest

    @property
    def is_open(self): return bool(self.t.open)

    @property
    def committed(self): return self.t.committed

    @property
    def executed(self): return self.t.executed

    def open(self): return bool(tickets.tickets_open(&self.t))

    def close(self, int64_t end): tickets.tickets_close(&self.t, end)

    def lack(self, int64_t end): return bool(tickets.tickets_lack(&self.t, end))

    def commit(self, int64_t committed, int64_t executed):
        return bool(tickets.tickets_commit(&self.t, committed, executed))

    def begin_anew(self): tickets.tickets_begin_anew(&self.t)
