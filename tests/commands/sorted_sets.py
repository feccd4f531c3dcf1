# SPDX-License-Identifier: Apache-2.0
"""Cases of sorted sets and places on the globe."""

from commands.case import make

SOME = "ZADD z 1 a 2 b 3 c"
SAME = "ZADD l 0 a 0 b 0 c 0 d"
TWO = [SOME, "ZADD y 10 b 20 d"]
PLACES = "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania"

CASES = make({
    "bzmpop": [
        SOME, "BZMPOP 1 2 nope z MIN COUNT 2", "B> BZMPOP 0 1 q MAX", "ZADD q 1 x 2 y", "B<",
        "BZMPOP 0.01 1 nope MIN",
    ],
    "bzpopmax": [SOME, "BZPOPMAX z 1", "B> BZPOPMAX p q 0", "ZADD q 1 x 2 y", "B<", "BZPOPMAX nope 0.01"],
    "bzpopmin": [
        SOME, "BZPOPMIN z 1", "B> BZPOPMIN p q 0", "ZADD q 1 x 2 y", "B<", "ZRANGE q 0 -1", "BZPOPMIN nope 0.01",
    ],
    "zadd": [
        "ZADD z 1 a 2 b", "ZADD z 3 a 4 c", "ZADD z CH 5 a 6 d", "ZADD z NX 9 a", "ZADD z XX 9 e", "ZADD z GT 1 a",
        "ZADD z LT 1 a", "ZADD z INCR 2.5 a", "ZADD z NX INCR 1 a", "ZADD z nan x", "ZADD z NX XX 1 a",
        "ZADD z inf top", "ZRANGE z 0 -1 WITHSCORES",
    ],
    "zcard": [SOME, "ZCARD z", "ZCARD nope"],
    "zcount": [SOME, "ZCOUNT z (1 3", "ZCOUNT z -inf +inf", "ZCOUNT z x 1"],
    "zdiff": [*TWO, "ZDIFF 2 z y WITHSCORES"],
    "zdiffstore": [*TWO, "ZDIFFSTORE d 2 z y", "ZRANGE d 0 -1 WITHSCORES"],
    "zincrby": [SOME, "ZINCRBY z 1.5 a", "ZINCRBY z -1 new", "ZINCRBY z x a"],
    "zinter": [*TWO, "ZINTER 2 z y WITHSCORES", "ZINTER 2 z y WEIGHTS 2 3 AGGREGATE MAX WITHSCORES"],
    "zintercard": [*TWO, "ZINTERCARD 2 z y", "ZINTERCARD 2 z z LIMIT 2"],
    "zinterstore": [*TWO, "ZINTERSTORE d 2 z y AGGREGATE MIN", "ZRANGE d 0 -1 WITHSCORES"],
    "zlexcount": [SAME, "ZLEXCOUNT l [b +", "ZLEXCOUNT l - (c"],
    "zmpop": [SOME, "ZMPOP 2 nope z MIN COUNT 2", "ZMPOP 1 z MAX", "ZMPOP 1 z MAX", "EXISTS z"],
    "zmscore": [SOME, "ZMSCORE z a x c", "ZMSCORE nope a"],
    "zpopmax": [SOME, "ZPOPMAX z", "ZPOPMAX z 5", "ZPOPMAX z"],
    "zpopmin": [SOME, "ZPOPMIN z", "ZPOPMIN z 5", "EXISTS z"],
    "zrandmember": [
        "ZADD z 1 a", "ZRANDMEMBER z", "ZRANDMEMBER z 3 WITHSCORES", "ZRANDMEMBER z -2", "ZRANDMEMBER nope",
    ],
    "zrange": [
        SOME, SAME, "ZRANGE z 0 -1", "ZRANGE z 0 1 REV WITHSCORES", "ZRANGE z (1 +inf BYSCORE LIMIT 1 1",
        "ZRANGE l [b (d BYLEX", "ZRANGE z 0 -1 LIMIT 0 1",
    ],
    "zrangebylex": [SAME, "ZRANGEBYLEX l - [b", "ZRANGEBYLEX l (a + LIMIT 1 1"],
    "zrangebyscore": [SOME, "ZRANGEBYSCORE z 2 +inf WITHSCORES", "ZRANGEBYSCORE z (1 (3"],
    "zrangestore": [SOME, "ZRANGESTORE d z 1 -1", "ZRANGE d 0 -1 WITHSCORES", "ZRANGESTORE d nope 0 -1", "EXISTS d"],
    "zrank": [SOME, "ZRANK z b", "ZRANK z x", "ZRANK nope a"],
    "zrem": [SOME, "ZREM z a x", "ZREM z b c", "EXISTS z"],
    "zremrangebylex": [SAME, "ZREMRANGEBYLEX l [b [c", "ZRANGE l 0 -1"],
    "zremrangebyrank": [SOME, "ZREMRANGEBYRANK z 0 1", "ZRANGE z 0 -1"],
    "zremrangebyscore": [SOME, "ZREMRANGEBYSCORE z -inf (3", "ZRANGE z 0 -1"],
    "zrevrange": [SOME, "ZREVRANGE z 0 1 WITHSCORES"],
    "zrevrangebylex": [SAME, "ZREVRANGEBYLEX l + [c"],
    "zrevrangebyscore": [SOME, "ZREVRANGEBYSCORE z +inf 2"],
    "zrevrank": [SOME, "ZREVRANK z a", "ZREVRANK z x"],
    "zscan": [SOME, "ZSCAN z 0 COUNT 1000", "ZSCAN z 0 MATCH a"],
    "zscore": [SOME, "ZSCORE z a", "ZSCORE z x"],
    "zunion": [*TWO, "ZUNION 2 z y WITHSCORES", "ZUNION 2 z y WEIGHTS 0.5 1"],
    "zunionstore": [
        *TWO, "ZUNIONSTORE d 2 z y WEIGHTS 2 0.25", "ZRANGE d 0 -1 WITHSCORES", "SADD t b m", "ZUNIONSTORE d 2 d t",
    ],
    # ------------------------------------------------------------------------------------------ places
    "geoadd": [
        PLACES, "GEOADD g NX 1 1 Palermo", "GEOADD g XX CH 13.3 38.1 Palermo", "GEOADD g 200 0 nowhere", "ZCARD g",
    ],
    "geodist": [PLACES, "GEODIST g Palermo Catania", "GEODIST g Palermo Catania km", "GEODIST g Palermo nope"],
    "geohash": [PLACES, "GEOHASH g Palermo nope"],
    "geopos": [PLACES, "GEOPOS g Palermo nope"],
    "georadius": [PLACES, "GEORADIUS g 15 37 200 km WITHDIST ASC", "GEORADIUS g 15 37 100 km STORE d", "ZRANGE d 0 -1"],
    "georadius_ro": [PLACES, "GEORADIUS_RO g 15 37 200 km ASC", "GEORADIUS_RO g 15 37 200 km STORE d"],
    "georadiusbymember": [
        PLACES, "GEORADIUSBYMEMBER g Palermo 200 km ASC", "GEORADIUSBYMEMBER g Palermo 1 km STOREDIST d",
        "ZRANGE d 0 -1 WITHSCORES",
    ],
    "georadiusbymember_ro": [PLACES, "GEORADIUSBYMEMBER_RO g Palermo 200 km WITHCOORD DESC"],
    "geosearch": [
        PLACES, "GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST",
        "GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 km",
    ],
    "geosearchstore": [PLACES, "GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km", "ZRANGE d 0 -1 WITHSCORES"],
})  # fmt: skip
