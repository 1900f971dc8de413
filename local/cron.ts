/**
 * The clock of a gateway on this machine, which Cloudflare's cron is elsewhere: one tick at a time, a fixed time
 * between the end of one and the next. It does not know what a tick does.
 */
import type { EdgeServer } from './edge-server.ts'

/** @param everySeconds 0: never. @returns how to stop it; a tick under way goes on. */
export function startCron(
  server: Pick<EdgeServer, 'scheduled'>,
  everySeconds: number,
  onFailure: (error: unknown) => void,
): () => void {
  if (everySeconds === 0) return () => undefined
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  const wait = (): void => {
    if (!isStopped)
      timer = setTimeout(() => void server.scheduled().catch(onFailure).finally(wait), everySeconds * 1_000)
  }
  wait()
  return () => {
    isStopped = true
    clearTimeout(timer)
  }
}
