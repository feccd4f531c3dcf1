# SPDX-License-Identifier: Apache-2.0
"""Settings by position, in redis.conf and by CONFIG, and the fields of INFO."""

from pathlib import Path

import pytest

from chainredis.local_cluster.cluster import MASTER, MEMBER
from chainredis.local_cluster.process import LauncherError
from chainredis.local_cluster.server import Server
from chainredis.transport.waiting import wait_until
from integration.conftest import StartChain, StartServer
from integration.helpers import Error, Talk, ask, assert_serves, info, stored_view

DEFAULTS = {
    "member.heartbeat-interval": "3",
    "member.heartbeat-timeout": "15",
    "member.write-timeout": "5000",
    "member.log-limit": str(256 << 20),
    "member.backlog-limit": str(8 << 20),
    "member.join-limit": str(1 << 30),
    "member.gcs-mode": "normal",
    "member.checkpoint-dir": "",
    "member.checkpoint-interval": "0",
    "member.flush-above": "0",
    "member.lifeline-port": "0",
    "member.direct-clients": "1000",
    "member.once-keep": "3600",
    "member.once-clients": "100000",
    "member.once-memory": str(64 << 20),
    "member.serve-removed-data": "no",
    "member.commands": "put",
    "member.cluster-announce": "no",
    "member.gate": "yes",
    "member.hold-timeout": "0",
    "member.auth-user": "",
    "member.auth-password": "",
    "member.master-type": "0",
    "member.announce-host": "",
    "member.etcd-user": "",
    "member.etcd-password": "",
    "member.etcd-ca": "",
    "member.etcd-cert": "",
    "member.etcd-key": "",
}

IN_RANGE = {
    "member.heartbeat-interval": ["1", "3600"],
    "member.heartbeat-timeout": ["1", "86400"],
    "member.write-timeout": ["1", "3600000"],
    "member.log-limit": ["1048576", "1mb", "1gb"],
    "member.backlog-limit": ["0", "1gb"],
    "member.join-limit": ["1048576", "2gb"],
    "member.gcs-mode": ["normal", "flush-unsafe", "checkpoint", "checkpoint-flush"],
    "member.checkpoint-interval": ["0", "86400000"],
    "member.flush-above": ["0", "1", "2gb"],
    "member.direct-clients": ["0", "4096"],
    "member.once-keep": ["1", "2592000"],
    "member.once-clients": ["1", "100000000"],
    "member.once-memory": ["1024", "1gb"],
    "member.serve-removed-data": ["yes", "no"],
    "member.cluster-announce": ["yes", "no"],
    "member.hold-timeout": ["0", "86400000"],
    "member.auth-user": ["", "somebody"],
    "member.auth-password": [""],  # CONFIG GET shows no other value
    "member.master-type": ["0", "1"],
    "member.announce-host": ["", "10.0.0.1"],
    "member.etcd-user": ["", "somebody"],
    "member.etcd-password": [""],  # CONFIG GET shows no other value
    "member.etcd-ca": ["", "/etc/ca.pem"],
    "member.etcd-cert": ["", "/etc/cert.pem"],
    "member.etcd-key": ["", "/etc/key.pem"],
}
AT_THE_START = {  # settings that nothing changes in a running server
    "member.checkpoint-dir": "",
    "member.lifeline-port": "0",
    "member.commands": "put",
    "member.gate": "yes",
}

OUT_OF_RANGE = {
    "member.heartbeat-interval": ["0", "3601", "-1", "x", "", "1.5"],
    "member.heartbeat-timeout": ["0", "86401", "-1", "x"],
    "member.write-timeout": ["0", "3600001", "-1", "x", "9223372036854775808"],
    "member.log-limit": ["0", "1048575", "-1", "x", "2000gb"],
    "member.backlog-limit": ["-1", "x", "2000gb"],
    "member.join-limit": ["0", "1048575", "x"],
    "member.master-type": ["2", "-1", "x"],
    "member.gcs-mode": ["4", "-1", "x", "", "flush"],
    "member.checkpoint-interval": ["-1", "86400001", "x"],
    "member.flush-above": ["-1", "x"],
    "member.direct-clients": ["-1", "4097", "x"],
    "member.serve-removed-data": ["x", "1", ""],
    "member.hold-timeout": ["-1", "86400001", "x"],
}


def refusal(folder: Path, module: str, **config: str) -> str:
    """The log's reason why this server does not start."""
    one = Server(folder, modules=[module], config=config)
    try:
        with pytest.raises(LauncherError):
            one.start()
    finally:
        one.kill()
    assert "BUG REPORT" not in one.log()
    return one.log()


def config(server: Server) -> dict[str, str]:
    flat = [item.decode() for item in ask(server, "CONFIG", "GET", "member.*")]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_defaults(server: StartServer) -> None:
    assert config(server(MEMBER)) == DEFAULTS


@pytest.mark.parametrize(("arguments", "interval", "timeout"), [("0", 3, 15), ("0 5", 5, 15), ("1 1 2", 1, 2)])
def test_settings_by_position(server: StartServer, arguments: str, interval: int, timeout: int) -> None:
    one = server(f"{MEMBER} {arguments}")
    assert config(one)["member.heartbeat-interval"] == str(interval)
    assert config(one)["member.heartbeat-timeout"] == str(timeout)
    assert ask(one, "MEMBER.PUT", "a", 1) == 0


@pytest.mark.parametrize(("arguments", "complaint"), [
    ("x", "the master type must be a number from"), ("2", "the master type must be a number from"),
    ("-1", "the master type must be a number from"), ('""', "the master type must be a number from"),
    ("0 0", "the heartbeat interval must be a number from 1 to 3600"), ("0 3601", "the heartbeat interval must be"),
    ("0 x", "the heartbeat interval must be"), ("0 3s", "the heartbeat interval must be"),
    ("0 3 0", "the heartbeat timeout must be a number from 1 to 86400"), ("0 3 86401", "the heartbeat timeout must be"),
    ("0 3 99999999999999999999", "the heartbeat timeout must be"),
    ("0 3 15 1", "takes [master type] [heartbeat interval] [heartbeat timeout]"),
])  # fmt: skip
def test_a_member_with_bad_arguments_does_not_start(tmp_path: Path, arguments: str, complaint: str) -> None:
    assert complaint in refusal(tmp_path, f"{MEMBER} {arguments}")


def test_a_master_with_arguments_does_not_start(tmp_path: Path) -> None:
    assert "libmaster.so takes no arguments" in refusal(tmp_path, f"{MASTER} 0")


def test_settings_in_redis_conf(server: StartServer) -> None:
    one = server(MEMBER, **{name: values[-1] for name, values in IN_RANGE.items()})
    sizes = {"1gb": str(1 << 30), "2gb": str(2 << 30)}
    wanted = {name: sizes.get(values[-1], values[-1]) for name, values in IN_RANGE.items()}
    assert config(one) == wanted | AT_THE_START


@pytest.mark.parametrize(("name", "value"), [(name, values[0]) for name, values in OUT_OF_RANGE.items()])
def test_a_bad_setting_in_redis_conf_is_refused(tmp_path: Path, name: str, value: str) -> None:
    assert name in refusal(tmp_path, MEMBER, **{name: value})


def test_a_checkpoints_folder_is_set_at_the_start(server: StartServer) -> None:
    one = server(MEMBER, **{"member.checkpoint-dir": "elsewhere", "member.gcs-mode": "1"})
    wait_until((one.folder / "elsewhere/CURRENT").exists, 10)
    assert isinstance(ask(one, "CONFIG", "SET", "member.checkpoint-dir", "another"), Error)


def test_a_setting_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "Module Configuration detected" in refusal(tmp_path, MEMBER, **{"member.no-such-thing": "1"})


def test_settings_by_config_set(server: StartServer) -> None:
    with Talk(server(MEMBER)) as talk:
        for name, values in IN_RANGE.items():
            for value in values:
                assert talk("CONFIG", "SET", name, value) == b"OK", (name, value)
                read_back = talk("CONFIG", "GET", name)[1].decode()
                assert read_back == value or value.endswith(("mb", "gb")), (name, value)


def test_config_set_out_of_range_is_refused_and_changes_nothing(chain: StartChain) -> None:
    cluster = chain(2)
    with Talk(cluster.head) as talk:
        for name, values in OUT_OF_RANGE.items():
            for value in values:
                reply = talk("CONFIG", "SET", name, value)
                assert isinstance(reply, Error) and name in reply, (name, value, reply)
    assert config(cluster.head) == DEFAULTS
    assert_serves(cluster)


def test_a_limit_set_at_run_time_is_in_force_at_once(chain: StartChain) -> None:
    cluster = chain(2)
    value = "x" * (2 << 20)
    assert ask(cluster.head, "MEMBER.PUT", "key", value) == 0
    assert ask(cluster.head, "CONFIG", "SET", "member.log-limit", "1mb") == b"OK"
    assert ask(cluster.head, "MEMBER.PUT", "key", value).startswith("ERR too large")
    assert ask(cluster.head, "CONFIG", "SET", "member.log-limit", "4mb") == b"OK"
    assert ask(cluster.head, "MEMBER.PUT", "key", value) == 1


def test_info_of_members(chain: StartChain) -> None:
    cluster = chain(3)
    for number in range(7):
        assert ask(cluster.head, "MEMBER.PUT", "key", number) == number
    ask(cluster.tail, "READ", "key")
    head, middle, tail = (info(member, "member") for member in cluster.members)
    assert [each["member_role"] for each in (head, middle, tail)] == ["head", "middle", "tail"]
    names = [str(member.endpoint) for member in cluster.members]
    assert [each["member_predecessor"] for each in (head, middle, tail)] == ["", *names[:-1]]
    assert [each["member_successor"] for each in (head, middle, tail)] == [*names[1:], ""]
    for each in (head, middle, tail):
        assert each["member_epoch"] == each["member_newest_epoch"] == each["member_members"] == "3"
        assert each["member_applied"] == "6"
        assert each["member_serving"] == "1"
        assert int(each["member_log_length"]) <= 7
        assert int(each["member_log_bytes"]) >= int(each["member_log_length"])
    assert [each["member_link_down"] for each in (head, middle, tail)] == ["ready", "ready", "none"]
    assert [each["member_link_up"] for each in (head, middle, tail)] == ["none", "ready", "ready"]
    assert head["member_committed"] == tail["member_committed"] == "6"
    assert head["member_writes"] == "7"
    assert tail["member_reads"] == "1"
    assert {"member_resent", "member_refused_stale", "member_view_changes"} <= head.keys()
    assert "member_role" in info(cluster.head, "everything")


def test_info_of_a_server_without_a_chain(server: StartServer) -> None:
    fields = info(server(MEMBER), "member")
    assert fields["member_role"] == "alone"
    assert fields["member_epoch"] == "0"
    assert fields["member_applied"] == "-1"


def test_info_of_the_master(chain: StartChain) -> None:
    cluster = chain(2)
    fields = info(cluster.master, "master")
    assert fields["master_role"] == "master"
    assert fields["master_epoch"] == fields["master_members"] == "2"
    assert fields["master_chain"] == ",".join(str(member.endpoint) for member in cluster.members)
    assert fields["master_last_change"] == "MASTER.ADD"
    assert fields["master_last_change_state"] == "done"


def test_secrets_are_shown_nowhere(chain: StartChain) -> None:
    """No secret is in INFO, in CHAIN.STATE, or in the members' logs and RDBs."""
    cluster = chain(2)
    secret = stored_view(cluster).secret
    for member in cluster.members:
        wait_until(lambda member=member: ask(member, "SAVE") == b"OK", 30)  # type: ignore[misc]
        shown = [ask(member, "INFO", "everything"), repr(ask(member, "CHAIN.STATE")).encode(), member.log().encode()]
        shown.append((member.folder / "dump.rdb").read_bytes())
        assert not any(secret.encode() in each or bytes.fromhex(secret) in each for each in shown)
    assert secret.encode() not in ask(cluster.master, "INFO", "everything")
    assert secret not in cluster.master.log()


def test_a_chain_with_passwords(chain: StartChain) -> None:
    password = {"requirepass": "chain secret"}
    cluster = chain(
        3,
        master_config={"master.auth-password": "chain secret"},
        member_config={**password, "member.auth-password": "chain secret"},
    )
    assert_serves(cluster)
