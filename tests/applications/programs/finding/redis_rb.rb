# SPDX-License-Identifier: Apache-2.0
# redis-rb: as redis_py.py.
require "redis"

protocol, addresses, name, key = ARGV
places = addresses.split(",").map { |address| address.split(":") }
client = if protocol == "sentinel"
  Redis.new(url: "redis://#{name}", sentinels: places.map { |host, port| { host: host, port: port.to_i } })
else
  Redis.new(cluster: places.map { |host, port| "redis://#{host}:#{port}" })
end
$stdout.sync = true
(0..).each do |number|
  begin
    client.sadd?(key, number)
  rescue Redis::BaseError
    sleep 0.02
    retry
  end
  puts number
  sleep 0.005
end
