// SPDX-License-Identifier: Apache-2.0
// ioredis: as redis_py.py.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const [protocol, addresses, name, key, installed] = process.argv.slice(2)
const { Cluster, Redis } = createRequire(installed)('ioredis')
const places = addresses.split(',').map(address => ({ host: address.split(':')[0], port: Number(address.split(':')[1]) }))
const client = protocol === 'sentinel' ? new Redis({ sentinels: places, name }) : new Cluster(places)
client.on('error', () => {})
for (let number = 0; ; number++) {
  while (!await client.sadd(key, number).then(() => true, () => false)) await sleep(20)
  console.log(number)
  await sleep(5)
}
