/**
 * What the environment tells the workers process, parsed once.
 *
 *     REDIS_URL           redis:// or rediss://
 *     AXLE_LANES          queues of the deployment (2)
 *     AXLE_METRICS_HOST   where /metrics is served: no key guards it (127.0.0.1)
 *     AXLE_METRICS_PORT   its port (9464; 0: any free one)
 */
import { z } from 'zod'

const settings = z
  .object({
    REDIS_URL: z.url({ protocol: /^rediss?$/ }),
    AXLE_LANES: z.coerce.number().int().min(1).max(1_024).default(2),
    AXLE_METRICS_HOST: z.string().min(1).default('127.0.0.1'),
    AXLE_METRICS_PORT: z.coerce.number().int().min(0).max(65_535).default(9_464),
  })
  .transform((environment) => ({
    redisUrl: environment.REDIS_URL,
    laneCount: environment.AXLE_LANES,
    metrics: { host: environment.AXLE_METRICS_HOST, port: environment.AXLE_METRICS_PORT },
  }))

export type WorkersSettings = z.infer<typeof settings>

/** @throws ZodError naming the variable. */
export function parseSettings(environment: NodeJS.ProcessEnv): WorkersSettings {
  return settings.parse(environment)
}
