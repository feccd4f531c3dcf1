# SPDX-License-Identifier: Apache-2.0
"""Asks the servers of a running chain, of which one address is known: a member's or a master's."""

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from chainredis.operator import rights
from chainredis.operator.chain_status import ChainStatus, MasterStatus, MemberStatus
from chainredis.operator.doctor import ALIKE, Patient
from chainredis.protocol.errors import MemberError, Rejected
from chainredis.protocol.view import Endpoint, parse_endpoint
from chainredis.transport.member_client import RedisLink
from chainredis.transport.settings import Credentials, Settings
from chainredis.transport.tls import Tls

ANSWER_TIMEOUT_S = 2.0
MORE_SETTINGS = ("member.auth-user", "tls-port", "tls-replication", "io-threads")
OUTSIDE = ("alone", "removed", "learner")    # roles of a server that is in no view
OF_MASTERS = ("tls-replication", "master.etcd-ca")


def look(address: Endpoint, credentials: Credentials, tls: Tls | None = None) -> ChainStatus:
    """The chain of a server. MemberError if the server does not answer, or has none of the modules.

    tls: None to talk without TLS.
    """
    settings = _settings(credentials, tls)
    with closing(RedisLink(address, settings)) as link:
        master = MasterStatus(address, link.info("master"))
        if not master.info:
            epoch, members = link.view()
            asked = MemberStatus(address, link.info("member"))
            outsider = asked if asked.role in OUTSIDE else None
            return ChainStatus(epoch, _ask_all([_endpoint(text) for text in members], settings), outsider=outsider)
    masters = [master]
    if not master.leads and master.leader:
        masters.append(_ask_master(_endpoint(master.leader), settings))
    return _chain_of(masters, settings)


def look_around(masters: Sequence[Endpoint], members: Sequence[Endpoint], tls: Tls | None = None) -> ChainStatus:
    """The chain of these servers, of which some may not answer. members: those that are asked if no master answers."""
    settings = _settings(Credentials(), tls)
    with ThreadPoolExecutor(len(masters)) as threads:
        told = list(threads.map(lambda endpoint: _ask_master(endpoint, settings), masters))
    if any(not master.trouble for master in told):
        return _chain_of(told, settings)
    for endpoint in members:
        with suppress(MemberError):
            return replace(look(endpoint, Credentials(), tls), masters=told)
    return ChainStatus(0, [], told)


def _chain_of(masters: Sequence[MasterStatus], settings: Settings) -> ChainStatus:
    """masters: at least one has answered."""
    info = ChainStatus(0, [], masters).master
    endpoints = [_endpoint(text) for text in info["master_chain"].split(",") if text]
    return ChainStatus(int(info["master_epoch"]), _ask_all(endpoints, settings), masters)


def examine_masters(
    status: ChainStatus, credentials: Credentials, tls: Tls | None = None
) -> dict[Endpoint, dict[str, str]]:
    """Settings of those masters that tell them."""
    settings = _settings(credentials, tls)
    found = {}
    for master in status.masters:
        with suppress(MemberError), closing(RedisLink(master.endpoint, settings)) as link:
            found[master.endpoint] = link.settings(*OF_MASTERS)
    return found


def examine_members(status: ChainStatus, credentials: Credentials, tls: Tls | None = None) -> list[Patient]:
    """All that those members say that answer."""
    settings = _settings(credentials, tls)
    asked = (member.endpoint for member in status.members if not member.trouble)
    patients = [patient for endpoint in asked if (patient := _examine(endpoint, settings))]
    needs: dict[str, set[str]] = {}
    for patient in patients:
        if "member.auth-user" in patient.settings:
            needs.setdefault(patient.settings["member.auth-user"] or "default", set()).update(rights.MEMBERS)
    for master in status.masters:
        if (user := _user_of(master, settings)) is not None:
            needs.setdefault(user or "default", set()).update(rights.MASTERS)
    return [_examine_rights(patient, needs, settings) for patient in patients]


def _examine(endpoint: Endpoint, settings: Settings) -> Patient | None:
    try:
        with closing(RedisLink(endpoint, settings)) as link:
            patient = Patient(
                endpoint, link.info("everything"), is_open=_is_open(endpoint, settings.tls()),
                certificate_days=link.certificate_days(),
            )  # fmt: skip
            try:
                before = time.time()
                ahead_ms = 1000 * (link.time() - (before + time.time()) / 2)
                return replace(patient, ahead_ms=ahead_ms, settings=link.settings(*ALIKE, *MORE_SETTINGS))
            except Rejected as error:
                return replace(patient, unexamined=str(error))
    except MemberError:
        return None     # it has ended since it was first asked


def _is_open(endpoint: Endpoint, tls: Tls | None) -> bool:
    """Returns True if somebody who does not log in may run commands there."""
    try:
        with closing(RedisLink(endpoint, _settings(Credentials(), tls))) as link:
            link.time()
    except MemberError:
        return False
    return True


def _user_of(master: MasterStatus, settings: Settings) -> str | None:
    """The user as whom the master logs in at members; empty: the default one. None if that cannot be asked."""
    try:
        with closing(RedisLink(master.endpoint, settings)) as link:
            return link.settings("master.auth-user").get("master.auth-user")
    except MemberError:
        return None


def _examine_rights(patient: Patient, needs: Mapping[str, Collection[str]], settings: Settings) -> Patient:
    """needs: what each user has to be able to run there."""
    refused: dict[str, list[str]] = {}
    strangers: list[str] = []
    try:
        with closing(RedisLink(patient.endpoint, settings)) as link:
            for user, commands in needs.items():
                try:
                    lacking = [each for each in sorted(commands) if not _may_run(link, user, each)]
                except NoSuchUser:
                    strangers.append(user)
                    continue
                if lacking:
                    refused[user] = lacking
    except MemberError as error:
        return replace(patient, unexamined=patient.unexamined or str(error))
    return replace(patient, refused=refused, strangers=strangers)


class NoSuchUser(Exception):
    """Somebody is to log in as a user that the server does not know."""


def _may_run(link: RedisLink, user: str, command: str) -> bool:
    try:
        return link.may_run(user, *rights.words(command))
    except Rejected as error:
        if "not found" not in str(error):
            raise
        if f"Command '{command}'" in str(error):
            return True  # a member of another version has no such command
        raise NoSuchUser from error


def _settings(credentials: Credentials, tls: Tls | None) -> Settings:
    return Settings(
        Path(), "", 0, credentials=lambda: credentials, tls=lambda: tls, connect_timeout_s=ANSWER_TIMEOUT_S,
        answer_timeout_s=ANSWER_TIMEOUT_S,
    )  # fmt: skip


def _ask_all(endpoints: Sequence[Endpoint], settings: Settings) -> list[MemberStatus]:
    """At once, since each may be silent."""
    with ThreadPoolExecutor(max(len(endpoints), 1)) as threads:
        return list(threads.map(lambda endpoint: _ask(endpoint, settings), endpoints))


def _ask(endpoint: Endpoint, settings: Settings) -> MemberStatus:
    try:
        with closing(RedisLink(endpoint, settings)) as link:
            return MemberStatus(endpoint, link.info("member") | link.info("keyspace"))
    except MemberError as error:
        return MemberStatus(endpoint, trouble=str(error))


def _ask_master(endpoint: Endpoint, settings: Settings) -> MasterStatus:
    try:
        with closing(RedisLink(endpoint, settings)) as link:
            return MasterStatus(endpoint, link.info("master"))
    except MemberError as error:
        return MasterStatus(endpoint, trouble=str(error))


def _endpoint(text: str) -> Endpoint:
    """ValueError if a server names no address."""
    host, _, port = text.rpartition(":")
    return parse_endpoint(host.encode(), port.encode())
