/** What the environment tells the workers process, parsed once. */
import { z } from 'zod'

const settings = z
  .object({
    REDIS_URL: z.url({ protocol: /^rediss?$/ }),
    AXLE_LANES: z.coerce.number().int().min(1).max(1_024).default(2),
  })
  .transform((environment) => ({ redisUrl: environment.REDIS_URL, laneCount: environment.AXLE_LANES }))

export type WorkersSettings = z.infer<typeof settings>

/** @throws ZodError naming the variable. */
export function parseSettings(environment: NodeJS.ProcessEnv): WorkersSettings {
  return settings.parse(environment)
}
