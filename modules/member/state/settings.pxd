# cython: language_level=3
"""Settings, as Redis knows them: `member.*`."""

from modules.bindings.redismodule cimport RedisModuleString
from modules.server.passwords cimport PasswordSetting


cdef struct Settings:
    # Module configurations, in the units of their names.
    long long master_type
    long long heartbeat_interval
    long long heartbeat_timeout
    bint heartbeat_timeout_given    # by whoever started the server, or set it: the default shortens no master's
    long long write_timeout
    long long log_limit
    long long backlog_limit
    long long join_limit
    int gcs_mode
    RedisModuleString *checkpoint_dir
    long long checkpoint_interval
    long long flush_above
    long long lifeline_port     # 0: any; -1: none
    int serve_removed_data
    RedisModuleString *auth_user
    PasswordSetting auth_password
    RedisModuleString *announce_host
    RedisModuleString *etcd_user
    PasswordSetting etcd_password
    RedisModuleString *etcd_ca
    RedisModuleString *etcd_cert
    RedisModuleString *etcd_key
    bint loaded                     # what was in redis.conf is in force
