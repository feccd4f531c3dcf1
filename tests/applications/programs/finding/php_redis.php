<?php
// SPDX-License-Identifier: Apache-2.0
// php-redis: as redis_py.py. A refusal is an exception or, for most errors that a server replies, `false`.

[, $protocol, $addresses, $name, $key] = $argv;

function head(array $sentinels, string $name): Redis
{
    foreach ($sentinels as $address) {
        [$host, $port] = explode(':', $address);
        $found = (new RedisSentinel($host, (int) $port, 1))->getMasterAddrByName($name);
        if ($found) {
            $redis = new Redis();
            $redis->connect($found[0], (int) $found[1], 1);
            return $redis;
        }
    }
    throw new RedisException('no Sentinel knows the head');
}

$places = explode(',', $addresses);
$client = null;
for ($number = 0; ; $number++) {
    while (true) {
        try {
            $client ??= $protocol == 'sentinel' ? head($places, $name) : new RedisCluster(null, $places, 1, 1);
            if ($client->sAdd($key, $number) !== false) {
                break;
            }
        } catch (RedisException | RedisClusterException) {
        }
        $client = null;
        usleep(20000);
    }
    echo "$number\n";
    usleep(5000);
}
