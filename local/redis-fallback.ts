/**
 * A Redis in JavaScript for machines where no real one can be had: in memory, slow, forgets everything when it ends.
 * Started by the launcher as a child of its own; it does not know who connects.
 */
import { createRedisServer } from 'js-redis-server'
import { onLauncherGone, tellLauncher } from '../contract/lifecycle.ts'

const server = await createRedisServer({ port: Number(process.argv[2]) })
process.once('SIGTERM', () => process.exit(0))
onLauncherGone(() => process.exit(0))
await tellLauncher({ kind: 'ready', facts: { url: `redis://127.0.0.1:${server.port}` } })
