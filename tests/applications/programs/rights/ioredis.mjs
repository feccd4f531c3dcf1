// SPDX-License-Identifier: Apache-2.0
// ioredis: as redis_py.py. It only warns where it may not ask INFO.
import assert from 'node:assert'
import { createRequire } from 'node:module'

const [protocol, addresses, name, username, password, installed] = process.argv.slice(2)
const { Cluster, Redis } = createRequire(installed)('ioredis')
console.warn = console.error = text => { throw new Error(text) }
const places = addresses.split(',').map(address => ({ host: address.split(':')[0], port: Number(address.split(':')[1]) }))
const client = protocol === 'sentinel'
  ? new Redis({ sentinels: places, name, username, password, sentinelUsername: username, sentinelPassword: password })
  : new Cluster(places, { scaleReads: 'all', redisOptions: { username, password } })
client.on('error', error => { throw error })
assert.equal(await client.set('app:two', '1'), 'OK')
assert.deepEqual(await client.multi().incr('app:two').get('app:two').exec(), [[null, 2], [null, '2']])
assert.equal(await client.get('app:two'), '2')
await client.quit()
