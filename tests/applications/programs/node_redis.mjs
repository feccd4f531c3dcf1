// SPDX-License-Identifier: Apache-2.0
// node-redis with RESP3: pipelines by the event loop, optimistic transactions, hashes, sorted sets, a subscriber.
import assert from 'node:assert'
import { createRequire } from 'node:module'

const { createClient } = createRequire(process.argv[3])('redis')
const client = await createClient({ url: process.argv[2], RESP: 3 }).connect()
const other = await client.duplicate().connect()

await Promise.all(Array.from({ length: 200 }, (_, number) => client.set(`key ${number}`, `${number}`)))
assert.equal((await client.mGet(['key 7', 'key 199']))[1], '199')
assert.deepEqual(await client.multi().set('n', '1').incr('n').exec(), ['OK', 2])
await client.watch('n')
await other.incr('n')
await assert.rejects(client.multi().set('n', '0').exec())
assert.equal(await client.get('n'), '3')
await client.hSet('hash', { field: 'value', other: '2' })
assert.deepEqual({ ...await client.hGetAll('hash') }, { field: 'value', other: '2' })
await client.zAdd('scores', [{ score: 1.5, value: 'a' }, { score: 2, value: 'b' }])
assert.equal(await client.zScore('scores', 'a'), 1.5)
const heard = new Promise(resolve => other.subscribe('news', text => resolve(text)).then(() => client.publish('news', 'hello')))
assert.equal(await heard, 'hello')
await Promise.all([client.close(), other.close()])
