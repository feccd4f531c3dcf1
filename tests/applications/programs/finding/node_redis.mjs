// SPDX-License-Identifier: Apache-2.0
// node-redis: as redis_py.py.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const [protocol, addresses, name, key, installed] = process.argv.slice(2)
const { createCluster, createSentinel } = createRequire(installed)('redis')
const places = addresses.split(',').map(address => ({ host: address.split(':')[0], port: Number(address.split(':')[1]) }))
const client = protocol === 'sentinel'
  ? createSentinel({ name, sentinelRootNodes: places, scanInterval: 1000 })
  : createCluster({ rootNodes: places.map(socket => ({ socket })), topologyRefreshOnReconnectionAttemptStrategy: 100 })
client.on('error', () => {})
await client.connect()
for (let number = 0; ; number++) {
  while (!await client.sAdd(key, String(number)).then(() => true, () => false)) await sleep(20)
  console.log(number)
  await sleep(5)
}
