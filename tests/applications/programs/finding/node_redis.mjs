// SPDX-License-Identifier: Apache-2.0
// node-redis: as redis_py.py.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const [protocol, address, name, key, installed] = process.argv.slice(2)
const { createSentinel } = createRequire(installed)('redis')
const [host, port] = address.split(':')
const client = createSentinel({ name, sentinelRootNodes: [{ host, port: Number(port) }], scanInterval: 1000 })
client.on('error', () => {})
await client.connect()
for (let number = 0; ; number++) {
  while (!await client.sAdd(key, String(number)).then(() => true, () => false)) await sleep(20)
  console.log(number)
  await sleep(5)
}
