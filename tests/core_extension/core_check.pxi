# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Included by core.pyx: what must be true of a member's state at any time. Each function returns what is not.

cdef list broken_so_far = []       # "rule and fact, in function" of each broken invariant that nobody has taken yet


cdef void note_broken(const char *text, const char *function) noexcept with gil:
    broken_so_far.append(f"{text.decode()}, in {function.decode()}")


invariant.on_broken_invariant(<invariant.InvariantHandler>note_broken)


def take_broken_invariants():
    """The INVARIANTs of the core, of any member, that were broken since the last call."""
    cdef list taken = broken_so_far[:]
    broken_so_far.clear()
    return taken


cdef list broken_numbers(Core member):
    cdef chain.Chain *c = &member.c
    cdef list broken = []
    if not -1 <= c.settled <= c.committed <= c.applied:
        broken.append(f"settled {c.settled} <= committed {c.committed} <= applied {c.applied} does not hold")
    if c.log.end != c.applied + 1 or not 0 <= c.log.first <= min(c.settled, c.recorded, c.executed) + 1:
        broken.append(
            f"the log is [{c.log.first}, {c.log.end}): settled {c.settled}, recorded {c.recorded}, "
            f"executed {c.executed}")
    if c.streaming and not c.log.first <= c.next_sn <= c.applied + 1:
        broken.append(f"next to send is {c.next_sn}, of [{c.log.first}, {c.applied}]")
    for i in range(c.log.boundary_count):
        if c.log.boundaries[i].first_sn > c.applied or i and (
                c.log.boundaries[i].first_sn <= c.log.boundaries[i - 1].first_sn
                or c.log.boundaries[i].epoch <= c.log.boundaries[i - 1].epoch):
            broken.append(f"epoch boundary {i} of {member.boundaries} is out of place")
    return broken


def log_blocks(Core member):
    """How many blocks of entries the log has."""
    return sum(member.c.log.blocks[i] != NULL for i in range(member.c.log.slots))


cdef list broken_log(Core member):
    return broken_stream(member) if member.c.log.streams else broken_entries(member)


cdef list broken_entries(Core member):
    cdef chain.Chain *c = &member.c
    cdef log.Entry *entry
    cdef uint64_t total = 0, unsettled = 0
    cdef int64_t sn
    cdef Py_ssize_t held = 0
    cdef list broken = []
    for sn in range(c.log.first, c.log.end):
        entry = log.log_at(&c.log, sn)
        total += log.entry_cost(entry)
        unsettled += log.entry_cost(entry) if sn > c.settled else 0
        held += (entry.key != NULL) + (entry.value != NULL) + (entry.client != NULL) + (entry.waiter != NULL)
        if entry.waiter != NULL and sn < max(c.expiry, c.settled + 1):
            broken.append(f"the waiter of sn {sn} is forgotten: settled {c.settled}, expiry {c.expiry}")
    if total != c.log.bytes or unsettled != c.unsettled_bytes:
        broken.append(f"bytes {c.log.bytes}, unsettled {c.unsettled_bytes}, but really {total} and {unsettled}")
    if held != len(member._owned):
        broken.append(f"{len(member._owned)} handles are owned, {held} are in the log")
    return broken


cdef list broken_stream(Core member):
    cdef chain.Chain *c = &member.c
    cdef list marks = member.marks
    cdef list broken = []
    if any([one >= other for one, other in zip(marks, marks[1:])]):
        broken.append(f"the marks {marks} are out of order")
    if c.log.end > c.log.first and (not marks or marks[-1] != c.log.end):
        broken.append(f"the log ends at {c.log.end}, and its newest mark is {marks[-1:]}")
    if <uint64_t>(c.log.end + c.log.stream.ahead - c.log.first) > c.log.stream.capacity:
        broken.append(f"the log has more bytes than its ring of {c.log.stream.capacity}")
    if <int64_t>c.log.bytes != c.log.end - c.log.first or <int64_t>c.unsettled_bytes != c.applied - c.settled:
        broken.append(f"of [{c.log.first}, {c.log.end}) {c.log.bytes} bytes are counted, {c.unsettled_bytes} unsettled")
    return broken
