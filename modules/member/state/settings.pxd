# cython: language_level=3
# SPDX-License-Identifier: Apache-2.0
"""The values of the settings `member.*`."""

from modules.bindings.redismodule cimport RedisModuleString
from modules.server.passwords cimport PasswordSetting

cdef enum Commands:
    # The kind of chain that the server wants to be in (`member.commands`).
    COMMANDS_PUT                # a log of PUTs
    COMMANDS_ALL                # a log of the effects of all commands
    COMMANDS_AUTO


cdef struct Settings:
    # Redis writes the fields. Their units are those of docs/configuration.md.
    long long master_type
    long long heartbeat_interval
    long long heartbeat_timeout
    # somebody set the timeout; its default value must not shorten the timeout of a master
    bint heartbeat_timeout_given
    long long write_timeout
    long long log_limit
    long long backlog_limit
    long long join_limit
    int gcs_mode
    RedisModuleString *checkpoint_dir
    long long checkpoint_interval
    long long flush_above
    long long lifeline_port     # 0: any free port; -1: no lifelines
    long long direct_clients
    long long once_keep         # s
    long long once_clients
    long long once_memory
    int serve_removed_data
    int cluster_announce        # clients of Redis Cluster are answered
    int commands                # of Commands
    int gate                    # clients' output is held until it is committed, unless `commands` is COMMANDS_PUT
    long long hold_timeout      # ms; 0: held output waits for ever
    RedisModuleString *auth_user
    PasswordSetting auth_password
    RedisModuleString *announce_host
    RedisModuleString *etcd_user
    PasswordSetting etcd_password
    RedisModuleString *etcd_ca
    RedisModuleString *etcd_cert
    RedisModuleString *etcd_key
    bint loaded                     # the settings of redis.conf are in force
