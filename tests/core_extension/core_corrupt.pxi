# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
# Deliberate damage, which invariants must notice: included by core.pyx.

def corrupt(Core member, str field, int64_t value):
    """Give one number of the member's state a value that the protocol would never give it. KeyError: no such number."""
    cdef chain.Chain *c = &member.c
    if field == "applied":
        c.applied = value
    elif field == "committed":
        c.committed = value
    elif field == "settled":
        c.settled = value
    elif field == "recorded":
        c.recorded = value
    elif field == "on_disk":
        c.on_disk = value
    elif field == "answered":
        c.answered = value
    elif field == "pinned":
        c.pinned = value
    elif field == "me":
        c.me = value
    elif field == "epoch":
        c.view.epoch = value
    elif field == "unsettled_bytes":
        c.unsettled_bytes = value
    elif field == "next_sn":
        c.next_sn = value
    elif field == "log_bytes":
        c.log.bytes = value
    elif field == "log_first":
        c.log.first = value
    elif field == "log_end":
        c.log.end = value
    elif field == "log_slots":
        c.log.slots = value
    else:
        raise KeyError(field)


def misuse(Core member, str function, *numbers):
    """Call a function of the core as no caller may. KeyError: no such function."""
    cdef log.Entry entry
    cdef messages.Batch batch
    cdef messages.Ack ack
    cdef view.View other
    cdef memtable.Memtable table
    cdef memtable.MemtableEntry row
    cdef memtable.MemtableEntry *rows
    cdef tickets.Tickets some
    memset(&some, 0, sizeof(some))
    memset(&entry, 0, sizeof(entry))
    memset(&table, 0, sizeof(table))
    memset(&row, 0, sizeof(row))
    memset(&other, 0, sizeof(other))
    if function == "log_at":
        log.log_at(&member.c.log, numbers[0])
    elif function == "log_append":
        log.log_append(&member.c.log, &entry)
    elif function == "log_take_first":
        log.log_take_first(&member.c.log)
    elif function == "log_note_epoch":
        log.log_note_epoch(&member.c.log, numbers[0], numbers[1])
    elif function == "durability_note_recorded":
        batch.first, batch.count = numbers
        durability.durability_note_recorded(&member.c, &batch)
    elif function == "replication_take_head_ack":
        replication.replication_take_head_ack(&member.c, &ack)
    elif function == "membership_enter":
        memcpy(other.history, member.c.history, view.HISTORY_BYTES)
        other.epoch, other.count, other.kind = numbers
        membership.membership_enter(&member.c, &other)
    elif function == "log_drop":
        log.log_drop(&member.c.log, numbers[0])
    elif function == "tickets_close":
        for end in numbers:
            tickets.tickets_open(&some)
            tickets.tickets_close(&some, end)
        tickets.tickets_free(&some)
    elif function == "memtable_at":
        rows = &row
        table.blocks = &rows
        memtable.memtable_at(&table, 0)
    elif function == "memtable_set":
        memtable.memtable_set(&table, &row, memtable.MEMTABLE_VALUE, numbers[0], numbers[1])
    else:
        raise KeyError(function)
