# cython: language_level=3
"""libetcd_master.so: a redis-server that decides who is in the chain, or stands by to; the view is in etcd.

    loadmodule libetcd_master.so host:port[,host:port…]/chain_name
"""

include "master/master.pxi"

cdef extern from *:
    """
    PyMODINIT_FUNC PyInit_etcd_master(void);
    """
    PyObject *PyInit_etcd_master() nogil
    const char *NAME "\"libetcd_master.so\""


cdef struct EtcdSettings:
    RedisModuleString *url
    RedisModuleString *announce_host
    RedisModuleString *user
    PasswordSetting password
    RedisModuleString *ca
    RedisModuleString *cert
    RedisModuleString *key

cdef EtcdSettings etcd


cdef PyObject *python_module() noexcept nogil:
    return PyInit_etcd_master()


cdef bint take_arguments(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) noexcept nogil:
    if argc != 1:
        RedisModule_Log(ctx, b"warning", b"libetcd_master.so takes one argument, host:port[,host:port...]/chain_name, "
                        b"such as 127.0.0.1:12379/my_cool_chain")
        return False
    etcd.url = argv[0]
    RedisModule_RetainString(NULL, etcd.url)
    return True


cdef bint register_own_settings(RedisModuleCtx *ctx) noexcept nogil:
    return (
        register_setting(ctx, b"announce-host", &etcd.announce_host, REDISMODULE_CONFIG_IMMUTABLE)
        and register_setting(ctx, b"etcd-user", &etcd.user, REDISMODULE_CONFIG_IMMUTABLE)
        and register_setting(ctx, b"etcd-ca", &etcd.ca, REDISMODULE_CONFIG_IMMUTABLE)
        and register_setting(ctx, b"etcd-cert", &etcd.cert, REDISMODULE_CONFIG_IMMUTABLE)
        and register_setting(ctx, b"etcd-key", &etcd.key, REDISMODULE_CONFIG_IMMUTABLE)
        and register_password(ctx, b"etcd-password", REDISMODULE_CONFIG_IMMUTABLE, &etcd.password)
    )


def make_coordinator(settings):
    from chainredis.etcd.client import Access
    from chainredis.etcd.master import EtcdMaster
    from chainredis.etcd.url import parse_url
    try:
        url = parse_url(setting_text(&etcd.url))
    except ValueError as error:
        raise Unusable(str(error)) from error
    access = Access(
        url.endpoints, setting_text(&etcd.user), setting_text(&etcd.password.value.text), setting_text(&etcd.ca),
        setting_text(&etcd.cert), setting_text(&etcd.key),
    )
    return EtcdMaster(url, access, settings, setting_text(&etcd.announce_host))
