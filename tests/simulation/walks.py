# SPDX-License-Identifier: Apache-2.0
"""Random walks: scripts of steps, each with a temper of its own.

Which steps come how often is drawn for every walk, and so is what its machines are like: long outages, no crashes at
all, a busy operator, quick clocks, … A quarter of the walks each is about leases, about disks, about additions, and
about anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from core_extension.core import Role, Update

from .disk import Kind
from .model import require
from .node import Node
from .operations import Operation
from .settling import come_to_rest, grow, members_of, turn
from .simulation import Setting, Simulation, Step

STEPS_A_WALK = 5000
SHOWN_STEPS = 30

WORK = {
    "deliver": 25, "sleep": 15, "flow": 15, "turns": 0.3, "put": 8, "delete": 2, "read": 8, "wait": 2,
    "connect": 5, "time": 5, "copy": 3, "talk": 20, "decide": 16, "operate": 25, "add": 3,
    "come_back": 3, "reform": 3, "begin": 1,
    "settle": 0.15, "start": 3, "wake": 1, "show": 1, "heal": 0.8, "start_master": 4, "wake_master": 1, "flush": 1,
    "save": 0.3,
}  # fmt: skip
TROUBLE = {
    "cut": 1.2, "double": 0.3, "swap": 0.3, "late": 0.5, "block": 0.25, "stop": 0.25, "hide": 0.15, "kill": 0.25,
    "kill_unwritten": 0.25, "shut_down": 0.05, "weaken": 0.03, "remove": 0.15, "form": 0.05, "give_up": 0.1,
    "kill_master": 0.15, "stop_master": 0.1,
}  # fmt: skip
LATE_WORK = {"come_late": 4}  # where that matters: members wait for their disks
# Besides, in chains of all commands.
NATIVE_WORK = {"serve": 45, "tap": 15, "work": 15, "reach": 5, "unpause": 2}
NATIVE_TROUBLE = {"lose_tap": 0.5, "lose_server": 1, "pause": 0.4, "timer": 1}
DISK_TROUBLE = {"lose_power": 0.1, "write_slowly": 6}   # in walks about disks
STEPS = [*WORK, *TROUBLE, *DISK_TROUBLE]
ALL_STEPS = [*WORK, *TROUBLE, *NATIVE_WORK, *NATIVE_TROUBLE, *DISK_TROUBLE]
WORK_TEMPERS = [0.5, 1, 1, 2]
TROUBLE_TEMPERS = [0, 0, 0.3, 1, 2]


@dataclass(frozen=True)
class Focus:
    """What a walk is about. more, never: steps that come so many times as often, or not at all."""

    more: dict[str, float] = field(default_factory=dict)
    never: frozenset[str] = frozenset()
    kinds: tuple[Kind, ...] = tuple(Kind)
    drifts: tuple[float, ...] = (0.01, 0.5, 1)
    leases_ms: tuple[tuple[int, ...], ...] = ((400,), (400, 800))
    patience: tuple[int, ...] = (1, 2)
    trust: float = 1  # how likely it is that a refusing port is believed
    late: bool = False  # commands come after the steps of a pass, too


ANYTHING = Focus()
LEASES = Focus(
    {
        "turns": 4, "settle": 2, "time": 2, "block": 5, "stop": 3, "stop_master": 2, "kill_master": 6, "form": 8,
        "hide": 5, "remove": 2, "read": 2, "put": 2, "talk": 2, "decide": 2, "operate": 2, "add": 2,
    },
    frozenset({"kill", "kill_unwritten", "shut_down", "double", "swap"}),
    kinds=(Kind.NONE,), drifts=(0.2, 1), leases_ms=((200, 500),), trust=0.7,
)  # fmt: skip
DISKS = Focus(
    {
        "kill": 3, "kill_unwritten": 6, "lose_power": 1, "write_slowly": 1, "weaken": 4, "start": 2, "reform": 3,
        "put": 2, "read": 2,
    },
    frozenset({"block", "stop", "stop_master", "double", "swap", "form"}),
    kinds=(Kind.ALWAYS, Kind.ALWAYS, Kind.EVERYSEC), drifts=(0.01,), leases_ms=((400,),), late=True,
)  # fmt: skip
ADDITIONS = Focus(
    {"add": 3, "operate": 2, "copy": 2, "give_up": 3, "late": 3, "remove": 6, "form": 3, "kill_master": 2, "kill": 0.5},
    frozenset({"double", "swap"}),
)  # fmt: skip
FOCUSES = [ANYTHING, LEASES, DISKS, ADDITIONS]


def focus_of(seed: int) -> Focus:
    return FOCUSES[seed % len(FOCUSES)]


def setting_of(seed: int, all_commands: bool = False) -> Setting:
    focus, random = focus_of(seed), Random(seed)
    size = random.choice([2, 3, 4, 5, 5])
    one = random.choice(focus.kinds)
    kinds = random.choice([(one,), tuple(random.choices(focus.kinds, k=size))])
    length, drift = random.randint((size + 1) // 2, size), random.choice(focus.drifts)
    is_quick, is_subscribed, trusts = random.random() < 0.7, random.random() < 0.5, random.random() < focus.trust
    leases_ms, patience = random.choice(focus.leases_ms), random.choice(focus.patience)
    return Setting(size, length, kinds, drift, leases_ms, is_quick, is_subscribed, trusts, patience,
                   all_commands)


def script_of(seed: int, steps: int, all_commands: bool = False) -> list[Step]:
    focus, random = focus_of(seed), Random(seed)
    possible = [*(ALL_STEPS if all_commands else STEPS), *(LATE_WORK if focus.late else ())]
    names = random.choices(possible, [_weight(name, focus, random) for name in possible], k=steps)
    return [Step(name, random.randrange(1 << 16), random.randrange(1 << 16)) for name in names]


def _weight(name: str, focus: Focus, random: Random) -> float:
    """Trouble that the walk is not about may stay away altogether."""
    if name in focus.never or (name in DISK_TROUBLE and name not in focus.more):
        return 0
    troubles = TROUBLE | NATIVE_TROUBLE | DISK_TROUBLE
    if name in troubles and name not in focus.more:
        return troubles[name] * random.choice(TROUBLE_TEMPERS)
    return (WORK | LATE_WORK | NATIVE_WORK | troubles)[name] * focus.more.get(name, 1) * random.choice(WORK_TEMPERS)


def leave_alone(simulation: Simulation) -> Node:
    """A way that no walk in hundreds takes: the only member's server has executed what its tap has not read, and has
    lost the tap. The log goes on behind that, and others join it. Returns that member.
    """
    simulation.settle()
    [head] = [node for node in simulation.world.nodes.values() if node.server.leads]
    for node in list(simulation.world.nodes.values()):
        if node is not head:
            simulation.faults.end(node)
    come_to_rest(simulation)
    head.touch()
    head.server.act(Update(b"own", b"1"))
    head.before_sleep()
    head.server.close_tap()
    head.server.leads = False
    simulation.settle()
    grow(simulation, 3)
    simulation.finish()
    return head


def change_disks_while_a_server_lags(simulation: Simulation) -> None:
    """The middle one's server has not executed what is committed, and `appendfsync always` begins there. Then the tail
    dies, the view changes, and the power fails.
    """
    simulation.settle()
    head, middle, tail = members_of(simulation)
    middle.touch()
    middle.server.drop()
    write = simulation.native.write(head, Update(b"key", b"1"))
    for _ in range(8):
        turn(simulation)
    require(write.kind == "committed" and middle.core.executed < head.core.committed, "the middle one does not lag")
    middle.keep_on(Kind.ALWAYS)
    middle.before_sleep()
    simulation.faults.end(tail)
    for _ in range(40):
        turn(simulation)
    view = (head.run_id, middle.run_id)
    require(head.core.view.members == view == middle.core.view.members, "the tail is not taken out")
    head.disk.flush()
    for node in (head, middle):
        simulation.faults.end(node)
    for place in simulation.world.places[::-1]:
        if place.process is None and place.number != tail.place:
            simulation.start_member(place)
            for _ in range(8):
                turn(simulation)
    simulation.finish()
    require(not simulation.model.lost_at, "what was committed is lost")


def come_back_with_what_is_not_saved(simulation: Simulation) -> None:
    """A write is on the disks of all of four members but the second, whose server lags. The last one dies, and comes
    back with that write. It is no member before the second one has saved what it came with: as the tail it would take
    it for committed.
    """
    simulation.settle()
    grow(simulation, 4)
    head, lagging, third, last = members_of(simulation)
    lagging.touch()
    lagging.server.drop()
    write = simulation.native.write(head, Update(b"key", b"1"))
    for _ in range(8):
        turn(simulation)
    saved = [node.disk.newest == head.core.applied for node in (head, lagging, third, last)]
    require(write.kind != "committed" and saved == [True, False, True, True], "not all others have saved it")
    simulation.faults.end(last)
    place = simulation.world.places[last.place]
    simulation.start_member(place)
    for _ in range(60):
        simulation.master.operation = simulation.master.operation or Operation(simulation.master, place)
        turn(simulation)
    returned = place.process
    require(returned is not None and returned.core.role() == Role.LEARNER, "it does not wait as a learner")
    lagging.touch()
    lagging.server.is_cut = False
    simulation.finish()
    require(lagging.disk.newest == head.core.applied, "the second one has not saved it")


def walk(seed: int, simulation: Simulation | None = None, steps: int = STEPS_A_WALK) -> Simulation:
    """So many steps, and then healing. BrokenInvariantError, with a note of how to repeat it."""
    simulation = simulation or Simulation(setting_of(seed))
    script = script_of(seed, steps, simulation.setting.all_commands)
    done = 0
    try:
        for step in script:
            done += 1
            simulation.run(step)
        simulation.finish()
    except Exception as error:
        last = "\n".join(map(str, script[max(0, done - SHOWN_STEPS):done]))
        error.add_note(f"SIM_SEED={seed}, at step {done}; the last steps:\n{last}")
        raise
    return simulation
