# SPDX-License-Identifier: Apache-2.0
"""Users and rights: the recipes of docs/operations.md, "Users", word for word, and the ACL categories of commands."""

import re
from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.server import ROOT, Server
from chainredis.operator import rights
from chainredis.operator.doctor import examine
from chainredis.operator.looking import examine_members, look
from chainredis.transport.settings import Credentials
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, assert_serves
from servers import OLDEST_AND_NEWEST, SERVERS, use

PASSWORD = "change-this"
NOPERM = "NOPERM"
ADMINISTRATION = {
    MEMBER: [
        ["MEMBER.CONNECT_TO_MASTER", "127.0.0.1:1"], ["MEMBER.UNHELD"], ["TAIL.CHECKPOINT"], ["HEAD.FLUSH"],
        ["CHAIN.STATE"], ["CHAIN.ADOPT"], ["CHAIN.JOIN"], ["CHAIN.REJOIN"], ["CHAIN.CHALLENGE", "0" * 32],
    ],
    MASTER: [["MASTER.ADD", "nowhere", "1"], ["MASTER.REMOVE", "nowhere", "1"], ["MASTER.FORM", "nowhere", "1"]],
}  # fmt: skip


def recipes(where: str) -> list[str]:
    """The lines `ACL SETUSER …` of docs/operations.md under the comment that names `where`."""
    block = re.search(rf"^# {where}\n((?:ACL SETUSER .*\n)+)", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert block
    return block[1].splitlines()


WITH_CATEGORIES = ", from Redis 7.4 or Valkey 8.0 on"
EVERYWHERE = pytest.mark.parametrize("version", SERVERS)


def recipes_for(version: str, where: str) -> list[str]:
    return recipes(where if version == "redis-7.0" else where + WITH_CATEGORIES)


def acl_file(folder: Path, where: str) -> str:
    path = folder / f"{where.replace(' ', '-')}.acl"
    path.write_text("".join(line.replace("ACL SETUSER", "user") + "\n" for line in recipes(where)))
    return str(path)


def log_in(server: Server, user: str) -> Talk:
    talk = Talk(server)
    assert talk("AUTH", user, PASSWORD) == b"OK"
    return talk


def denied(talk: Talk, *commands: list[str]) -> list[str]:
    """The names of those commands that the user may not run."""
    return [command[0] for command in commands if str(talk(*command)).startswith(NOPERM)]


def as_user(server: Server, *rules: str) -> Talk:
    assert ask(server, "ACL", "SETUSER", "somebody", "reset", "on", f">{PASSWORD}", *rules) == b"OK"
    return log_in(server, "somebody")


def evictable(server: Server) -> list[str]:
    """Whose connections `maxmemory-clients` may end, of those of members and masters."""
    lines = ask(server, "CLIENT", "LIST").decode().splitlines()
    clients = [dict(field.partition("=")[::2] for field in line.split(" ")) for line in lines]
    peers = [client for client in clients if client["user"] in ("member", "master")]
    assert {client["user"] for client in peers} == {"member", "master"}
    return [client["user"] for client in peers if "e" not in client["flags"]]


def findings_of_doctor(master: Server) -> list[str]:
    """What `chainredis doctor --user operator` finds, when the master holds the lifelines of all members."""
    operator = Credentials("operator", PASSWORD)
    wait_until(lambda: not any("no lifeline" in each for each in examine(look(master.endpoint, operator), [])), 10)
    seen = look(master.endpoint, operator)
    return examine(seen, examine_members(seen, operator))


@EVERYWHERE
def test_the_recipes_are_what_everybody_needs_and_no_more(
    chain: StartChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    use(version, monkeypatch)
    which = "" if version == "redis-7.0" else WITH_CATEGORIES
    login = {"auth-user": "{}", "auth-password": PASSWORD}
    cluster = chain(
        2,
        master_config={f"master.{n}": v.format("master") for n, v in login.items()}
        | {"aclfile": acl_file(tmp_path, "at every master" + which)},
        member_config={f"member.{n}": v.format("member") for n, v in login.items()}
        | {"aclfile": acl_file(tmp_path, "at every member" + which), "member.gcs-mode": "checkpoint-flush"},
    )
    head, tail, master = cluster.head, cluster.tail, cluster.master
    with log_in(head, "application") as app, log_in(tail, "operator") as at_tail, log_in(head, "operator") as at_head:
        assert app("MEMBER.PUT", "app:a", "1") == 0
        assert app("MEMBER.PUT", "app:b", "2", "app:me") == 1
        assert isinstance(at_tail("TAIL.CHECKPOINT"), int)
        assert isinstance(at_head("HEAD.FLUSH"), int)
        listed = ["LIST.CHECKPOINT"]
        assert denied(at_tail, listed) == []
        assert denied(at_tail, ["MEMBER.PUT", "a", "1"], ["GET", "a"], ["CHAIN.STATE"], ["FLUSHALL"]) == [
            "MEMBER.PUT", "GET", "CHAIN.STATE", "FLUSHALL",
        ]  # fmt: skip
    cluster.grow()
    with log_in(cluster.tail, "application") as app:
        assert app("READ", "app:a") == b"1"
        allowed = [["MEMBER.VIEW"], ["MEMBER.SN"], ["GET", "app:a"], ["MEMBER.DEL", "app:a", "app:me"], ["PING"],
                   ["INFO"], ["ROLE"], ["COMMAND", "COUNT"], ["CLUSTER", "SLOTS"], ["SET", "app:a", "1"], ["MULTI"],
                   ["DISCARD"]]  # fmt: skip
        assert denied(app, *allowed) == []
        assert app("SUBSCRIBE", "app:me")[:2] == [b"subscribe", b"app:me"]
        assert app("UNSUBSCRIBE")[0] == b"unsubscribe"
        others = [
            ["READ", "other"], ["GET", "other"], ["MEMBER.PUT", "other", "1"], ["MEMBER.PUT", "app:a", "1", "other"],
            ["MEMBER.DEL", "app:a", "other"], ["SUBSCRIBE", "other"], ["SET", "other", "1"], ["KEYS", "*"],
            ["FLUSHALL"], ["CLUSTER", "RESET"], ["CONFIG", "GET", "*"], ["CLIENT", "KILL", "TYPE", "normal"],
            ["LIST.CHECKPOINT"], *ADMINISTRATION[MEMBER],
        ]  # fmt: skip
        assert denied(app, *others) == [command[0] for command in others]
    assert [evictable(member) for member in cluster.members] == [[], [], []]
    (found,) = findings_of_doctor(master)
    assert "no member has an append-only file" in found
    assert ask(head, "ACL", "SETUSER", "member", "-chain.copy") == b"OK"
    _, found = findings_of_doctor(master)
    assert found == f"{head.endpoint}: lacks rights that members and masters need: ACL SETUSER member +chain.copy"
    with log_in(master, "operator") as operator:
        assert operator("MASTER.REMOVE", "127.0.0.1", head.port) == b"OK"
        assert operator("MASTER.ADD", "127.0.0.1", head.port) == b"OK"
        assert denied(operator, ["MASTER.GET_CHAIN"], ["MASTER.REFRESH_TAIL"], ["INFO"], ["CONFIG", "GET", "*"]) == []
        assert denied(operator, ["SET", "a", "1"], ["SHUTDOWN"], ["ACL", "LIST"]) == ["SET", "SHUTDOWN", "ACL"]
    cluster.members.append(cluster.members.pop(0))
    for line in recipes_for(version, "at every member"):
        assert ask(head, *line.split()) == b"OK"  # as an operator types it
    assert_serves(cluster)


# For each user of the recipes with lists: what would be refused without a right. Subcommands are those of a container.
AT_A_MEMBER = {
    "application": {
        "@connection": "PING", "@read": "GET app:k", "@write": "SET app:k v", "@transaction": "MULTI",
        "cluster": "CLUSTER SLOTS", "info": "INFO", "chain.info": "CHAIN.INFO", "role": "ROLE",
        "chain.role": "CHAIN.ROLE", "chain.cluster": "CHAIN.CLUSTER SLOTS", "chain.wait": "CHAIN.WAIT 1 1",
        "member.put": "MEMBER.PUT app:k v", "member.del": "MEMBER.DEL app:k",
        "member.once": "MEMBER.ONCE app:id 1 SET app:k v", "member.wait": "MEMBER.WAIT 1", "member.sn": "MEMBER.SN",
        "member.view": "MEMBER.VIEW", "read": "READ app:k", "subscribe": "SUBSCRIBE app:c",
        "unsubscribe": "UNSUBSCRIBE", "~app:*": "GET app:k", "&app:*": "SUBSCRIBE app:c",
    },
    "operator": {
        "@connection": "PING", "info": "INFO", "chain.info": "CHAIN.INFO", "config|get": "CONFIG GET port",
        "config|set": "CONFIG SET timeout 0", "time": "TIME", "acl|dryrun": "ACL DRYRUN default PING",
        "member.connect_to_master": "MEMBER.CONNECT_TO_MASTER h:1", "member.unheld": "MEMBER.UNHELD",
        "member.sn": "MEMBER.SN", "member.view": "MEMBER.VIEW", "tail.checkpoint": "TAIL.CHECKPOINT",
        "head.flush": "HEAD.FLUSH", "list.checkpoint": "LIST.CHECKPOINT",
    },
    "member": {name: " ".join(rights.words(name)) for name in rights.MEMBERS},
    "master": {name: " ".join(rights.words(name)) for name in rights.MASTERS},
}  # fmt: skip
AT_A_MASTER = {
    "operator": {
        "@connection": "PING", "info": "INFO", "master.info": "MASTER.INFO", "config|get": "CONFIG GET port",
        "config|set": "CONFIG SET timeout 0", "master.add": "MASTER.ADD h 1", "master.remove": "MASTER.REMOVE h 1",
        "master.form": "MASTER.FORM h 1", "master.get_chain": "MASTER.GET_CHAIN",
        "master.refresh_head": "MASTER.REFRESH_HEAD", "master.refresh_tail": "MASTER.REFRESH_TAIL",
    },
    "application": {
        "@connection": "PING", "master.get_chain": "MASTER.GET_CHAIN", "master.refresh_head": "MASTER.REFRESH_HEAD",
        "master.refresh_tail": "MASTER.REFRESH_TAIL", "sentinel": "SENTINEL MASTERS", "role": "ROLE",
        "master.role": "MASTER.ROLE", "subscribe": "SUBSCRIBE c", "psubscribe": "PSUBSCRIBE c*",
        "unsubscribe": "UNSUBSCRIBE", "punsubscribe": "PUNSUBSCRIBE", "allchannels": "SUBSCRIBE c",
    },
}  # fmt: skip
WITH_ONE_CATEGORY = {"@chain": "CHAIN.ROLE", "@chain-operator": "TAIL.CHECKPOINT", "@chain-member": "CHAIN.COPY",
                     "@chain-master": "CHAIN.POLL"}  # fmt: skip
AT_A_MASTER_WITH_ONE = {"@chain": "SENTINEL MASTERS", "@chain-operator": "MASTER.ADD h 1"}


@EVERYWHERE
@pytest.mark.parametrize("module", [MEMBER, MASTER])
def test_each_right_of_the_recipes_is_needed_for_a_command(
    server: StartServer, monkeypatch: pytest.MonkeyPatch, module: str, version: str
) -> None:
    """And for that command nothing else of the recipe gives it. Whoever adds a right names the command."""
    use(version, monkeypatch)
    one = server(module)
    needed, own = (AT_A_MEMBER, WITH_ONE_CATEGORY) if module == MEMBER else (AT_A_MASTER, AT_A_MASTER_WITH_ONE)
    for line in recipes_for(version, "at every member" if module == MEMBER else "at every master"):
        name, *rules = line.split()[2:]
        commands = {**needed[name], **own}
        given = [rule for rule in rules if rule[0] in "+~&" or rule == "allchannels"]
        assert given
        for right in given:
            command = commands[right.removeprefix("+")].split()
            assert may(one, rules, command), (name, right)
            assert not may(one, [rule for rule in rules if rule != right], command), (name, right)


def may(server: Server, rules: list[str], command: list[str]) -> bool:
    """May a user with these rules run the command? For the server and not our own handler."""
    assert ask(server, "ACL", "SETUSER", "somebody", "reset", "resetchannels", *rules) == b"OK"
    answer = ask(server, "ACL", "DRYRUN", "somebody", *command)
    assert not str(answer).startswith("ERR Command"), answer
    return bool(answer == b"OK")


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST[1:])
def test_categories_have_what_the_lists_have(
    server: StartServer, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    use(version, monkeypatch)
    for module, where in ((MEMBER, "at every member"), (MASTER, "at every master")):
        one = server(module)
        for line in recipes(where):
            name, *rules = line.split()[2:]
            listed = {rule[1:] for rule in rules if re.match(r"\+(chain|member|master|tail|head|list)\.|\+read$", rule)}
            category = "chain" if name == "application" else f"chain-{name}"
            found = {each.decode() for each in ask(one, "ACL", "CAT", category)}
            assert {each for each in found if not each.startswith("sentinel")} == listed, (module, category)


def test_who_may_wait_may_wait_at_the_head_of_a_chain(chain: StartChain) -> None:
    """WAIT is a command of the module there, for which a user needs no right of its own if the default user is open."""
    cluster = chain(1, commands="all")
    with as_user(cluster.head, "+wait") as talk:
        assert talk("WAIT", 0, 1) == 0
        assert "wrong number of arguments" in talk("WAIT", 0)
    with as_user(cluster.head, "+@all", "-wait") as talk:
        assert denied(talk, ["WAIT", "0", "1"], ["CHAIN.WAIT", "0", "1"]) == ["WAIT", "CHAIN.WAIT"]
    assert ask(cluster.head, "ACL", "SETUSER", "default", "resetpass", ">x") == b"OK"
    with Talk(cluster.head) as stranger:
        assert "NOAUTH" in stranger("WAIT", 0, 1)
        assert "NOAUTH" in stranger("CHAIN.WAIT.ANY", 0, 1)


def getusers(server: Server) -> int:
    """How often the server has been asked for a user."""
    found = re.search(r"cmdstat_acl\|getuser:calls=(\d+)", ask(server, "INFO", "commandstats").decode())
    return int(found[1]) if found else 0


@pytest.mark.parametrize("command", [("WAIT", 0, 1), ("ROLE",)])
def test_who_enters_is_asked_when_users_may_have_changed(chain: StartChain, command: tuple[str | int, ...]) -> None:
    """The server needs longer to say it than to carry out the command."""
    head = chain(1, commands="all").head

    def is_refused() -> bool:
        with Talk(head.endpoint) as stranger:
            return "NOAUTH" in str(stranger(*command))

    with Talk(head) as operator, Talk(head) as client:
        before = getusers(head)
        for _ in range(20):
            client.pipeline([command] * 100)
        assert getusers(head) - before < 2000

        def change(*words: str) -> None:
            assert not isinstance(operator(*words), Error)

        opened, closed = ("ACL", "SETUSER", "default", "nopass"), ("ACL", "SETUSER", "default", "resetpass", ">x")
        for way_in, way_out in (
            (opened, closed), (opened, ("CONFIG", "SET", "requirepass", "x")),
            (("CONFIG", "SET", "requirepass", ""), closed),
        ):
            change(*way_out)
            assert is_refused()
            change(*way_in)
            assert not is_refused()
        change("MULTI")
        change(*closed)
        assert not is_refused()     # it is asked, and the answer is from before
        change("EXEC")
        assert is_refused()


def test_doctor_knows_what_members_and_masters_run() -> None:
    granted = {}
    for line in recipes("at every member"):
        words = line.split()
        granted[words[2]] = {word[1:] for word in words if word.startswith("+") and "@" not in word}
    assert (set(rights.MEMBERS), set(rights.MASTERS)) == (granted["member"], granted["master"])


def test_members_and_masters_may_run_each_command_that_they_send(server: StartServer) -> None:
    known = {name.decode() for name in ask(server(MEMBER), "COMMAND", "LIST") if name.startswith(b"chain.")}
    granted = {word[1:] for line in recipes("at every member") for word in line.split() if word.startswith("+chain.")}
    # Of files, of streams of effects, of the command filter, of a server's own module.
    inside_servers = ("chain.record", "chain.put", "chain.del", "chain.refused", "chain.elsewhere", "chain.role.any",
                      "chain.info.any", "chain.cluster.any", "chain.tap", "chain.wait.any", "chain.once",
                      "chain.maywrite")
    assert granted == {name for name in known if not name.startswith(inside_servers)}


@pytest.mark.parametrize("module", [MEMBER, MASTER])
def test_administration_goes_with_its_categories(server: StartServer, module: str) -> None:
    one = server(module)
    commands = ADMINISTRATION[module]
    harmless = [["MEMBER.VIEW"], ["READ", "a"]] if module == MEMBER else [["MASTER.GET_CHAIN"]]
    for rules in (["-@admin", "-@dangerous"], ["-@admin"], ["-@dangerous"]):
        with as_user(one, "~*", "&*", "+@all", *rules) as talk:
            assert denied(talk, *commands) == [command[0] for command in commands], rules
            assert denied(talk, *harmless) == []
            assert talk("MULTI") == b"OK"
            assert NOPERM in f"{talk(*commands[0])} {talk('EXEC')}"
    with as_user(one, "~*", "&*", "+@all") as talk:
        assert denied(talk, *commands) == []
    with as_user(one, "-@all", *(f"+{command[0]}" for command in commands)) as talk:
        assert denied(talk, *commands) == []


def test_a_channel_is_to_be_permitted(server: StartServer) -> None:
    member = server(MEMBER)
    with as_user(member, "~*", "&mine", "+@all") as talk:
        assert talk("MEMBER.PUT", "a", "1", "mine") == 0
        assert talk("MEMBER.PUT", "a", "1") == 1
        assert talk("MEMBER.DEL", "a", "mine") == 2
        channel = [["MEMBER.PUT", "a", "1", "others"], ["MEMBER.DEL", "a", "others"]]
        assert denied(talk, *channel) == ["MEMBER.PUT", "MEMBER.DEL"]
    assert ask(member, "MEMBER.SN") == 2


def test_keys_are_read_or_written_as_they_are_permitted(server: StartServer) -> None:
    member = server(MEMBER)
    with as_user(member, "%R~in", "%W~out", "+@all") as talk:
        assert denied(talk, ["READ", "in"], ["MEMBER.PUT", "out", "1"], ["MEMBER.DEL", "out"]) == []
        assert denied(talk, ["READ", "out"], ["MEMBER.PUT", "in", "1"], ["MEMBER.DEL", "in"]) == [
            "READ", "MEMBER.PUT", "MEMBER.DEL",
        ]  # fmt: skip


def test_the_checkpoint_is_for_who_may_read_all_keys(server: StartServer) -> None:
    member = server(MEMBER, **{"member.gcs-mode": "checkpoint"})
    for keys in ("~*", "%R~*", "allkeys"):
        with as_user(member, keys, "+@all") as talk:
            assert denied(talk, ["LIST.CHECKPOINT"]) == [], keys
    for keys in ("~app:*", "%W~*", "~?*"):
        with as_user(member, keys, "+@all") as talk:
            assert denied(talk, ["LIST.CHECKPOINT"]) == ["LIST.CHECKPOINT"], keys
    with as_user(member, "~app:*", "+@all", "(+get ~*)") as talk:
        assert denied(talk, ["LIST.CHECKPOINT"]) == ["LIST.CHECKPOINT"]


def test_refused_commands_are_refused_in_redis_words_to_who_may_not_run_them(
    chain: StartChain, server: StartServer
) -> None:
    cluster, plain = chain(1), server()
    with as_user(cluster.head, "~app:*", "-@all", "+set", "+eval", "+multi", "+exec") as talk:
        for command in (["SET", "app:a", "1"], ["set", "app:a", "1", "EX", "5"]):
            assert "copies must not differ" in talk(*command), command
        reply = talk("DEL", "app:a")
        assert reply.startswith(NOPERM) and "'del'" in reply and "refused" not in reply
        with as_user(plain, "~app:*", "-@all", "+set") as native:
            assert str(native("DEL", "app:a")) == str(reply)
        assert talk("SET", "other", "1").startswith(NOPERM)
        assert "wrong number of arguments for 'set' command" in talk("SET", "app:a")
        talk("MULTI")
        assert talk("SET", "app:a", "1") == b"QUEUED"
        assert "copies must not differ" in str(talk("EXEC")[0])
        assert "copies must not differ" in str(talk("EVAL", "return redis.call('set', 'app:a', '1')", "1", "app:a"))


def test_commands_describe_themselves(server: StartServer) -> None:
    for module in (MEMBER, MASTER):
        with Talk(server(module)) as talk:
            names = [name for name in talk("COMMAND", "LIST") if b"." in name or name == b"read"]
            docs = talk("COMMAND", "DOCS", *names)
            assert names
            assert len(docs) == 2 * len(names)
            assert all(b"summary" in doc for doc in docs[1::2])
    with Talk(server(MEMBER)) as talk:
        found = talk("COMMAND", "INFO", "member.put", "read", "member.wait", "member.sn")
        assert [arity for _, arity, *_ in found] == [-3, 2, -2, 1]
        assert "wrong number of arguments" in talk("MEMBER.PUT", "a")
        assert talk("COMMAND", "GETKEYSANDFLAGS", "MEMBER.PUT", "a", "1") == [[b"a", [b"OW", b"update"]]]
        assert talk("COMMAND", "GETKEYSANDFLAGS", "MEMBER.DEL", "a") == [[b"a", [b"RM", b"delete"]]]
        assert talk("COMMAND", "GETKEYSANDFLAGS", "READ", "a") == [[b"a", [b"RO", b"access"]]]
        assert isinstance(talk("COMMAND", "GETKEYSANDFLAGS", "MEMBER.SN"), Error)
