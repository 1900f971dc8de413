/** What the environment tells a GPU worker, parsed once; everyone else gets values. */
import { basename, resolve } from 'node:path'
import { z } from 'zod'
import { modelIdBytesMax } from '../contract/limits.ts'

const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  )
const modelName = z.string().regex(/^[\w.:/-]+$/, 'letters, digits and . : / _ - only')

const settings = z
  .object({
    REDIS_URL: z.url({ protocol: /^rediss?$/ }),
    AXLE_MODEL: z.string().min(1),
    AXLE_MODEL_ID: modelName.max(modelIdBytesMax).optional(),
    AXLE_MODEL_ALIASES: list.pipe(z.array(modelName.max(modelIdBytesMax)).max(64)),
    AXLE_WORKER_ID: z.string().regex(/^[\w.-]{1,64}$/),
    AXLE_LANES: z.coerce.number().int().min(1).max(1_024).default(2),
    AXLE_SLOTS: z.coerce.number().int().min(1).max(4_096).default(32),
    AXLE_KV_BYTES: z.coerce.number().int().positive().optional(),
    AXLE_DAWN_TOGGLES: list,
  })
  .transform((environment) => ({
    redisUrl: environment.REDIS_URL,
    modelDir: resolve(environment.AXLE_MODEL),
    modelId: environment.AXLE_MODEL_ID ?? basename(resolve(environment.AXLE_MODEL)),
    modelAliases: environment.AXLE_MODEL_ALIASES,
    workerId: environment.AXLE_WORKER_ID,
    laneCount: environment.AXLE_LANES,
    slots: environment.AXLE_SLOTS,
    /** null leaves it to the loader. */
    kvBytesMax: environment.AXLE_KV_BYTES ?? null,
    dawnToggles: environment.AXLE_DAWN_TOGGLES,
  }))

export type WorkerSettings = z.infer<typeof settings>

/** @throws ZodError naming the variables. */
export function parseSettings(environment: NodeJS.ProcessEnv): WorkerSettings {
  return settings.parse(environment)
}
