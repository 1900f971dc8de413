/**
 * What a child process tells the process that started it, over Node's IPC channel: progress, readiness, or why it cannot go on.
 *
 * It knows neither who listens nor what the children do. Without a channel (a process started by hand) telling is a no-op.
 */
import { z } from 'zod'

/** One line of facts a child reports once it serves: `adapter`, `toggles`, `url`, … */
const facts = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))

const lifecycleMessage = z.discriminatedUnion('kind', [
  /** A step on the way to `ready` began or moved on. Silence for too long counts as a hang. */
  z.object({ kind: z.literal('progress'), step: z.string(), detail: z.string().optional() }),
  /** The child serves. Sent once a process life. A GPU worker sends it only after the model has generated a token. */
  z.object({ kind: z.literal('ready'), facts }),
  /** The child cannot serve and exits; `wayOut` tells a person what to do. No secret and no tenant text in either. */
  z.object({ kind: z.literal('fatal'), message: z.string(), wayOut: z.string() }),
])

export type LifecycleMessage = z.infer<typeof lifecycleMessage>
export type LifecycleFacts = z.infer<typeof facts>

/** The message, or `undefined` when the value is none of ours. */
export function parseLifecycleMessage(value: unknown): LifecycleMessage | undefined {
  return lifecycleMessage.safeParse(value).data
}

/**
 * Tells the launcher, if there is one. Resolves when the message has left this process, so that a child may exit
 * right after `fatal`; resolves as well when the launcher is gone, since then nobody is left to be told.
 */
export function tellLauncher(message: LifecycleMessage): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, () => resolve())
  })
}

/**
 * Calls `stop` once when the launcher vanishes, or soon when it already has: a child never outlives the process that
 * started it. Without a channel it does nothing.
 */
export function onLauncherGone(stop: () => void): void {
  if (process.send === undefined) return
  if (process.connected) process.once('disconnect', stop)
  else queueMicrotask(stop)
}
