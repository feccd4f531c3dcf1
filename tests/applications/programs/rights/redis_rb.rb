# SPDX-License-Identifier: Apache-2.0
# redis-rb: as redis_py.py. By Sentinel it asks the head for its ROLE.
require "redis"

protocol, addresses, name, user, password = ARGV
places = addresses.split(",").map { |address| address.split(":") }
login = { username: user, password: password }
client = if protocol == "sentinel"
  Redis.new(url: "redis://#{name}", sentinels: places.map { |host, port| { host: host, port: port.to_i, **login } }, **login)
else
  Redis.new(cluster: places.map { |host, port| "redis://#{host}:#{port}" }, replica: true, **login)
end
raise "not written" unless client.set("app:four", 1) == "OK" && client.incr("app:four") == 2 && client.get("app:four") == "2"
