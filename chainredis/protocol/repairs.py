# SPDX-License-Identifier: Apache-2.0
"""Reconfigurations that the master makes by itself, from what the failure detector says (design.md, section 5).

Each step answers with the next configuration, or with None if there is nothing for it to do.
"""

from dataclasses import replace

from chainredis.protocol.errors import CommandError
from chainredis.protocol.failure_detector import FailureDetector
from chainredis.protocol.leases import Leases
from chainredis.protocol.reconfiguration import Configuration, Event, Move, Remove, Repair, confirmed, reconfigure
from chainredis.protocol.view import Member

# So long after a change the note of who has left makes way for the members, which mostly serve much earlier.
NOTE_AFTER_S = 0.1


class Repairs:
    """The steps, over what `detector` and `leases` know. They change neither of these."""

    def __init__(self, detector: FailureDetector, leases: Leases) -> None:
        self._detector = detector
        self._leases = leases

    def next_configuration(self, stored: Configuration, unchanged_s: float) -> Configuration | None:
        """The first that is due. unchanged_s: for how many seconds the master has listened since it was stored."""
        return (
            self._without_the_gone(stored)
            or self._left(stored, unchanged_s)
            or self._addition_withdrawn(stored)
            or self._addition_confirmed(stored)
            or self._without_a_broken_link(stored)
            or self._addition_stalled(stored, unchanged_s)
            or self._without_a_missing_heartbeat(stored)
            or self._moved(stored)
            or self._lease_length(stored)
            or self._durable_members(stored)
        )

    def reconfigured(self, stored: Configuration | None, event: Event) -> Configuration | None:
        """As `reconfigure`. Returns None when nobody is left who could carry it out: that may change."""
        try:
            return reconfigure(stored, event)
        except CommandError:
            return None

    def serves(self, member: Member, configuration: Configuration) -> bool:
        """Returns True if the member serves in the configuration's view, as far as is known."""
        return self._detector.serves(member.run_id, configuration.view.epoch)

    def is_in_force(self, configuration: Configuration) -> bool:
        """Returns True if every member of the view serves in it, and nobody else serves in an older one."""
        if configuration.pending or self.still_leaving(configuration):
            return False
        return all(self.serves(member, configuration) for member in configuration.view.members)

    def still_leaving(self, stored: Configuration) -> tuple[Member, ...]:
        """Those that leave, have not adopted the view, and may serve: nobody else may hear of it yet (rule 4)."""
        return tuple(
            member
            for member in stored.leaving
            if self._detector.epoch_of(member.run_id) < stored.view.epoch and not self._detector.is_gone(member.run_id)
        )

    # ----------------------------------------------------------------------------------------- members that failed

    def _without_the_gone(self, stored: Configuration) -> Configuration | None:
        """Without those that are gone, or if that leaves nobody, without those that are dead.

        A survivor must have been heard since their end: a view of processes that hang would help nobody.
        """
        followed = (*stored.view.members, *stored.leaving)
        gone = frozenset(member.run_id for member in followed if self._detector.is_gone(member.run_id))
        dead = frozenset(run_id for run_id in gone if self._detector.is_dead(run_id))
        for each in (gone, dead):
            lost = [member.run_id for member in stored.view.members if member.run_id in each]
            survivors = [member.run_id for member in stored.complete if member.run_id not in each]
            if lost and self._detector.was_heard_since(survivors, lost):
                return self.reconfigured(stored, Repair(each))
        return None

    def _without_a_broken_link(self, stored: Configuration) -> Configuration | None:
        """If two members that answer have had no connection to each other for the timeout, one of them has to go."""
        if not self._all_answer_in(stored):
            return None
        suspect = self._detector.most_complained_about(stored.view.members)
        return self._without(suspect, stored) if suspect else None

    def _without_a_missing_heartbeat(self, stored: Configuration) -> Configuration | None:
        """A member whose heartbeat has been missing for the timeout has to go, though it answers here.

        If nobody has a heartbeat, then etcd or the way to it is to blame, and no member.
        """
        if stored.leaving or not any(self._detector.has_heartbeat(member.run_id) for member in stored.complete):
            return None
        suspect = self._detector.without_heartbeat(stored.view.members)
        return self._without(suspect, stored) if suspect else None

    def _without(self, member: Member, stored: Configuration) -> Configuration | None:
        return self.reconfigured(stored, Remove(member, self._detector.health(), is_fault=True))

    def _all_answer_in(self, stored: Configuration) -> bool:
        """Returns True if the view has several members, and all of them answer and have adopted it."""
        if stored.leaving or len(stored.view.members) < 2:
            return False
        return all(
            self._detector.is_well(member.run_id) and self._detector.epoch_of(member.run_id) == stored.view.epoch
            for member in stored.view.members
        )

    # ----------------------------------------------------------------------------------------------- members that leave

    def _left(self, stored: Configuration, unchanged_s: float) -> Configuration | None:
        """Those that leave have adopted the view, or cannot serve any more. Nobody waits for this note, which spares a
        next master the question: so it is stored when the members serve, or when that takes long.
        """
        leaving = self.still_leaving(stored)
        is_early = unchanged_s < NOTE_AFTER_S and not all(self.serves(each, stored) for each in stored.view.members)
        return None if leaving == stored.leaving or is_early else replace(stored, leaving=leaving)

    # ---------------------------------------------------------------------------------------- a new tail ("Joining")

    def _addition_confirmed(self, stored: Configuration) -> Configuration | None:
        """A new tail that serves has everything that the old tail applied, and the old tail has adopted the view."""
        if stored.pending and not stored.leaving and self.serves(stored.view.tail, stored):
            return confirmed(stored)
        return None

    def _addition_withdrawn(self, stored: Configuration) -> Configuration | None:
        """The old tail cannot feed the new one: the addition is off."""
        if not stored.pending or stored.leaving:
            return None
        if self._detector.records[stored.view.members[-2].run_id].cannot_feed_epoch != stored.view.epoch:
            return None
        return self._without(stored.view.tail, stored)

    def _addition_stalled(self, stored: Configuration, unchanged_s: float) -> Configuration | None:
        """A new tail that answers, has adopted the view and does not serve for the timeout lacks something.

        Another master, which led before and did not know better, may have told it to begin its copy anew.
        """
        if not stored.pending or unchanged_s < self._detector.settings.timeout_ms / 1000:
            return None
        if not self._all_answer_in(stored) or self.serves(stored.view.tail, stored):
            return None
        return self._without(stored.view.tail, stored)

    # ---------------------------------------------------------------------------------------------- what is noted down

    def _moved(self, stored: Configuration) -> Configuration | None:
        """A member answers at another address than that in the view, where its neighbours look for it in vain."""
        found = None if stored.leaving or stored.pending else self._detector.moved(stored.view.members)
        return self.reconfigured(stored, Move(found)) if found and self._detector.is_well(found.run_id) else None

    def _lease_length(self, stored: Configuration) -> Configuration | None:
        """Leases longer than the stored length are granted only once the greater length is stored."""
        length_ms = self._leases.length_to_store()
        return replace(stored, lease_ms=length_ms) if length_ms != stored.lease_ms else None

    def _durable_members(self, stored: Configuration) -> Configuration | None:
        """Which members have everything on their disks: when the chain is dead, nobody gives that up unknowingly. Of
        those that are out, what they had stays known as long as they may come back.
        """
        if not self.is_in_force(stored):
            return None
        records = self._detector.records
        seen = {run_id for run_id, record in records.items() if record.report and record.report.durable}
        seen.update(member.run_id for member in stored.awaited + stored.fallen if member.run_id in stored.durable)
        durable = tuple(member.run_id for member in stored.with_data if member.run_id in seen)
        return replace(stored, durable=durable) if durable != stored.durable else None
