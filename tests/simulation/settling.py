# SPDX-License-Identifier: Apache-2.0
"""Healing: everything is repaired and delivered, and then nothing may be left to do (liveness)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core_extension.core import Role

from . import operations
from .control import copy_step
from .disk import Disk
from .model import require
from .names import place_of

if TYPE_CHECKING:
    from .node import Node
    from .simulation import Simulation
    from .world import Place

ROUNDS = 600
ROUND_MS = 20
OPERATORS_PATIENCE = 60  # rounds of which the chain is given to mend itself
LONGEST_WRITE_ROUNDS = 40  # until everybody who waits has been told


def settle(simulation: Simulation) -> None:
    heal(simulation)
    come_to_rest(simulation)
    for _ in range(LONGEST_WRITE_ROUNDS):
        turn(simulation)
    come_to_rest(simulation)  # the master may have changed the length of its leases meanwhile
    simulation.model.check_settled(members_of(simulation), simulation.setting.subscribed)


def come_to_rest(simulation: Simulation) -> None:
    lost_for = 0
    for _ in range(ROUNDS):
        if not members_of(simulation) or simulation.master.controller.is_lost or simulation.master.controller.newer:
            lost_for += 1
            revive(simulation, is_last=lost_for > OPERATORS_PATIENCE)
        turn(simulation)
        if is_settled(simulation):
            return
    raise_stuck(simulation)


def grow(simulation: Simulation, size: int) -> None:
    """Grows the chain to `length` members without any fault."""
    for _ in range(ROUNDS):
        configuration, master = simulation.store.configuration, simulation.master
        if is_settled(simulation) and configuration:
            if len(configuration.view.members) >= size:
                return
            inside = {place_of(member.run_id) for member in configuration.view.members}
            outside = next(place for place in simulation.world.places if place.number not in inside)
            if outside.process is None:
                simulation.start_member(outside)
            master.operation = operations.Operation(master, outside)
        turn(simulation)
    require(False, "the chain does not grow")


def heal(simulation: Simulation) -> None:
    simulation.world.network.blocked.clear()
    for node in list(simulation.world.nodes.values()):
        if node.is_writing:
            node.touch()
        node.is_stopped = node.has_left_its_port = node.server.is_cut = False
    simulation.master.is_stopped = False
    if not simulation.master.is_alive:
        simulation.master = simulation.new_master()


def turn(simulation: Simulation) -> None:
    """Every running process does what it can do at this moment. Then some time passes."""
    world, master = simulation.world, simulation.master
    for node in [node for node in world.nodes.values() if node.running]:
        for peer in node.wanted():
            simulation.connect(node, peer)
        copy_step(world, node)
        if world.all_commands:
            simulation.native.do_all(node)
        else:
            node.before_sleep()
    if master.running:
        for member in master.controller.followed:
            master.talk_to(member)
    for link in world.network.all_busy():
        world.network.deliver(link, 100)
        simulation.check()
    if master.running:
        master.decide(1)
        if master.operation:
            master.operation.step()
    simulation.pass_time(ROUND_MS, ticks=True)
    simulation.check()


def revive(simulation: Simulation, is_last: bool) -> None:
    """A chain that is dead as a whole: all its machines start again. If they cannot go on by themselves, operators make
    do with what there is.
    """
    for place in simulation.world.places:
        if place.process is None:
            simulation.start_member(place)
    master, configuration = simulation.master, simulation.store.configuration
    operations.reform(master)
    if is_last and configuration and configuration.pending and configuration.view.tail.run_id in simulation.world.nodes:
        # It may lack what the dead ones had.
        simulation.faults.end(simulation.world.nodes[configuration.view.tail.run_id])
    if is_last and (learner := left_learner(simulation)):
        simulation.faults.end(learner)
    if is_last or not configuration:
        operations.form(master, 0)
        operations.begin(master, 0)
    if is_last and configuration and not master.saving and not members_of(simulation):
        wipe(simulation, simulation.world.places[0])  # all have data of chains that are no more


def left_learner(simulation: Simulation) -> Node | None:
    """The only one alive of the view that the store has gone back from, if it has no more than part of a copy."""
    newer, nodes = simulation.master.controller.newer, simulation.world.nodes
    alive = [nodes[member.run_id] for member in newer.members if member.run_id in nodes] if newer else []
    return alive[0] if len(alive) == 1 and alive[0].core.role() is Role.LEARNER else None


def wipe(simulation: Simulation, place: Place) -> None:
    if place.process:
        simulation.faults.end(place.process)
    place.disk, place.used = Disk(place.disk.kind), False
    simulation.start_member(place)


def members_of(simulation: Simulation) -> list[Node]:
    configuration = simulation.store.configuration
    nodes = simulation.world.nodes
    members = configuration.view.members if configuration else ()
    return [nodes[member.run_id] for member in members if member.run_id in nodes]


def is_settled(simulation: Simulation) -> bool:
    master = simulation.master
    if not master.controller.is_settled or master.saving or master.operation:
        return False
    members, configuration = members_of(simulation), simulation.store.configuration
    if not configuration or len(members) < len(configuration.view.members):
        return False  # the master has not noticed yet who is dead
    at_rest = (node.core.settled == members[0].core.applied == node.core.applied for node in members)
    return all(at_rest) and all(node.gate.is_idle and not node.server.is_busy for node in members)


def raise_stuck(simulation: Simulation) -> None:
    configuration = simulation.store.configuration
    told = ", ".join(
        f"{node}: {node.core.role().name} in {node.core.epoch}, applied {node.core.applied}, "
        f"committed {node.core.committed}"
        for node in simulation.world.nodes.values()
    )
    why = simulation.master.controller.why_unsettled
    require(False, f"the chain does not settle: {why}; stored {configuration}; {told}")
