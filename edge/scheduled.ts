/** What the deployment does every minute, whoever calls or not. It knows no request. */
import { readSettings, type Env } from './env.ts'

export async function scheduled(env: Env, _nowMs: number): Promise<void> {
  readSettings(env)
}
