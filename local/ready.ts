/**
 * What a person, and a program, learn once the stack serves: the closing words and `ready.json`. It does not know how
 * the stack got there.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { writePrivateFile } from './private-file.ts'

export interface Ready {
  readonly url: string
  readonly apiKey: string
  readonly adminKey: string
  readonly model: string
  /** Of Prometheus' text. */
  readonly metricsUrl: string
  /** May hold a password, like the whole file. */
  readonly redisUrl: string
  /** The launcher's: SIGTERM to it stops everything. */
  readonly pid: number
}

export function writeReadyFile(dataDir: string, ready: Ready): void {
  const { url, apiKey, adminKey, model, metricsUrl, redisUrl, pid } = ready
  const facts = { url, apiKey, adminKey, model, metricsUrl, redisUrl, pid }
  writePrivateFile(join(dataDir, 'ready.json'), `${JSON.stringify(facts, null, 2)}\n`)
}

export function removeReadyFile(dataDir: string): void {
  rmSync(join(dataDir, 'ready.json'), { force: true })
}

export interface Surroundings {
  readonly adapter: string
  readonly toggles: string
  readonly memory: string
  readonly dataDir: string
  /** As `Progress.total()` says it. */
  readonly startTime: string
}

/** The model that ships answers a greeting with what it can do, and adds right when it thinks first. */
const greeting = 'Hello'
const question = 'What is 17 + 25?'

export function welcome(
  { url, apiKey, model, metricsUrl }: Ready,
  { adapter, toggles, memory, dataDir, startTime }: Surroundings,
): string {
  return `
  Axle serves ${model} at ${url}  (ready after ${startTime})

  API key   ${apiKey}
  Adapter   ${adapter}
  Toggles   ${toggles}
  Memory    ${memory.replaceAll('\n', '\n            ')}
  Metrics   ${metricsUrl}
  Data      ${dataDir}  (secrets.json has the admin key, logs/ every process's output)

  Talk to it with curl:

curl -N ${url}/v1/chat/completions \\
  -H 'Authorization: Bearer ${apiKey}' -H 'Content-Type: application/json' \\
  -d '{"model": "${model}", "stream": true, "messages": [{"role": "user", "content": "${greeting}"}]}'

  or with the OpenAI SDK (npm install openai):

import OpenAI from 'openai'
const client = new OpenAI({ baseURL: '${url}/v1', apiKey: '${apiKey}' })
const answer = await client.chat.completions.create({
  model: '${model}',
  messages: [{ role: 'user', content: '${question}' }],
  reasoning_effort: 'high', // think first; leave it out for a direct answer
})
console.log(answer.choices[0].message)

  Stop with Ctrl-C.
`
}
