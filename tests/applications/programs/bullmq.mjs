// SPDX-License-Identifier: Apache-2.0
// BullMQ: jobs with priorities and delays, one that is tried again, a flow of a parent with children. All scripts in Lua.
import assert from 'node:assert'
import { createRequire } from 'node:module'

const { FlowProducer, Queue, QueueEvents, Worker } = createRequire(process.argv[3])('bullmq')
const url = new URL(process.argv[2])
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null }

const queue = new Queue('jobs', { connection })
const events = new QueueEvents('jobs', { connection })
const worker = new Worker('jobs', async job => {
  if (job.name === 'second try' && job.attemptsMade === 0) throw new Error('not yet')
  if (job.name === 'sum') return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0)
  return 2 * job.data.number
}, { connection, concurrency: 5 })

await events.waitUntilReady()
const jobs = await queue.addBulk(Array.from({ length: 50 }, (_, number) => ({ name: 'double', data: { number }, opts: { priority: 1 + number % 3 } })))
assert.deepEqual(await Promise.all(jobs.map(job => job.waitUntilFinished(events, 30000))), jobs.map((_, number) => 2 * number))
const late = await queue.add('double', { number: 21 }, { delay: 200 })
assert.equal(await late.waitUntilFinished(events, 30000), 42)
const again = await queue.add('second try', { number: 4 }, { attempts: 3, backoff: 50 })
assert.equal(await again.waitUntilFinished(events, 30000), 8)
const flow = new FlowProducer({ connection })
const { job: sum } = await flow.add({ name: 'sum', queueName: 'jobs', children: [1, 2, 3].map(number => ({ name: 'double', data: { number }, queueName: 'jobs' })) })
assert.equal(await sum.waitUntilFinished(events, 30000), 12)
await Promise.all([worker.close(), events.close(), flow.close()])
await queue.close()
