// SPDX-License-Identifier: Apache-2.0
// ioredis: as redis_py.py.
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'

const [protocol, address, name, key, installed] = process.argv.slice(2)
const Redis = createRequire(installed)('ioredis').Redis
const [host, port] = address.split(':')
const client = new Redis({ sentinels: [{ host, port: Number(port) }], name, failoverDetector: true })
client.on('error', () => {})
for (let number = 0; ; number++) {
  while (!await client.sadd(key, number).then(() => true, () => false)) await sleep(20)
  console.log(number)
  await sleep(5)
}
