// SPDX-License-Identifier: Apache-2.0
// ioredis: automatic pipelines, a transaction, a script of its own, a subscriber, streams, blocking pops.
import assert from 'node:assert'
import { createRequire } from 'node:module'

const require = createRequire(process.argv[3])
const Redis = require('ioredis').Redis ?? require('ioredis')
const redis = new Redis(process.argv[2], { enableAutoPipelining: true })
const other = redis.duplicate()

const counts = await Promise.all(Array.from({ length: 200 }, () => redis.incr('n')))
assert.deepEqual(counts.toSorted((a, b) => a - b), Array.from({ length: 200 }, (_, at) => at + 1))
assert.deepEqual(await redis.multi().set('k', 'v').get('k').incr('k').exec().then(replies => replies.slice(0, 2)), [[null, 'OK'], [null, 'v']])
redis.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" })
assert.equal(await redis.addTo('total', 5), 5)
await other.subscribe('news')
const heard = new Promise(resolve => other.on('message', (channel, text) => resolve([channel, text])))
await redis.publish('news', 'hello')
assert.deepEqual(await heard, ['news', 'hello'])
await other.unsubscribe('news')
const popped = other.blpop('list', 10)
await redis.rpush('list', 'item')
assert.deepEqual(await popped, ['list', 'item'])
await redis.xadd('stream', '*', 'field', 'value')
assert.equal((await redis.xread('STREAMS', 'stream', '0'))[0][1].length, 1)
await Promise.all([redis.quit(), other.quit()])
