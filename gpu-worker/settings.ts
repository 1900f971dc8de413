/**
 * What the environment tells a GPU worker, parsed once; everyone else gets values. An empty variable is an unset one.
 *
 *     REDIS_URL           redis:// or rediss://
 *     AXLE_MODEL          checkpoint folder                            AXLE_MODEL_ID       its name (the folder's)
 *     AXLE_WORKER_ID      this worker's name                           AXLE_MODEL_ALIASES  more names, by commas
 *     AXLE_LANES          queues of the deployment (2)                 AXLE_SLOTS          sequences at once (32)
 *     AXLE_PROFILE        exact, kv16 (the cache in f16) or matrix (products in f16, by a GPU's matrix units)
 *     AXLE_TOGGLES        safe, default or fast: how Dawn drives the GPU   AXLE_DAWN_TOGGLES   more of them, by commas
 *     AXLE_GPU_BYTES      what this worker may take of its GPU, everything together: WebGPU cannot ask what is free
 *     AXLE_KV_BYTES       of that, at most so much for the cache
 *     AXLE_EXPERT_SLOTS   of a layer's routed experts so many lie on the GPU, as 96 or 50%: the others wait in host memory (all)
 *     AXLE_STEP_MS        a prompt's chunk is as large as a step of so long allows: the wait of others for a token (200)
 *     AXLE_DRAIN_SECONDS  after SIGTERM running jobs may go on so long, then they are handed back (20; 0: at once)
 *
 * Without AXLE_GPU_BYTES nothing but the adapter's limits bounds the weights, and the cache is 256 MiB unless
 * AXLE_KV_BYTES says otherwise. Bytes: 75161927680, 70GiB, 900MB.
 */
import { resolve } from 'node:path'
import { z } from 'zod'
import { modelIdBytesMax } from '../contract/limits.ts'
import { byteSizeForms, parseBytes } from './model/byte-size.ts'
import { checkpointName } from './model/checkpoint-name.ts'
import { parseSlots, slotsForms } from './model/expert-slots.ts'
import { profiles } from './model/profile.ts'
import { toggleProfileNames, toggleProfiles } from './toggle-profiles.ts'

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

const bytes = z
  .string()
  .transform((text, context) => {
    const count = parseBytes(text)
    if (count === null) context.addIssue(`expected ${byteSizeForms}, got '${text}'`)
    return count ?? z.NEVER
  })
  .optional()

const expertSlots = z
  .string()
  .transform((text, context) => {
    const slots = parseSlots(text)
    if (slots === null) context.addIssue(`expected ${slotsForms}, got '${text}'`)
    return slots ?? z.NEVER
  })
  .optional()

const settings = z
  .object({
    REDIS_URL: z.url({ protocol: /^rediss?$/ }),
    AXLE_MODEL: z.string().min(1),
    AXLE_MODEL_ID: modelName.max(modelIdBytesMax).optional(),
    AXLE_MODEL_ALIASES: list.pipe(z.array(modelName.max(modelIdBytesMax)).max(64)),
    AXLE_WORKER_ID: z.string().regex(/^[\w.-]{1,64}$/),
    AXLE_LANES: z.coerce.number().int().min(1).max(1_024).default(2),
    AXLE_SLOTS: z.coerce.number().int().min(1).max(4_096).default(32),
    AXLE_PROFILE: z.enum(profiles).default('exact'),
    AXLE_STEP_MS: z.coerce.number().positive().max(60_000).default(200),
    AXLE_DRAIN_SECONDS: z.coerce.number().min(0).max(3_600).default(20),
    AXLE_GPU_BYTES: bytes,
    AXLE_KV_BYTES: bytes,
    AXLE_EXPERT_SLOTS: expertSlots,
    AXLE_TOGGLES: z.enum(toggleProfileNames).default('default'),
    AXLE_DAWN_TOGGLES: list,
  })
  .transform((environment) => ({
    redisUrl: environment.REDIS_URL,
    modelDir: resolve(environment.AXLE_MODEL),
    modelId: environment.AXLE_MODEL_ID ?? checkpointName(environment.AXLE_MODEL),
    modelAliases: environment.AXLE_MODEL_ALIASES,
    workerId: environment.AXLE_WORKER_ID,
    laneCount: environment.AXLE_LANES,
    slots: environment.AXLE_SLOTS,
    profile: environment.AXLE_PROFILE,
    stepMs: environment.AXLE_STEP_MS,
    drainMs: environment.AXLE_DRAIN_SECONDS * 1_000,
    /** null leaves both to the loader. */
    gpuBytesMax: environment.AXLE_GPU_BYTES ?? null,
    kvBytesMax: environment.AXLE_KV_BYTES ?? null,
    /** null: all experts are resident. */
    expertSlots: environment.AXLE_EXPERT_SLOTS ?? null,
    toggleProfile: environment.AXLE_TOGGLES,
    /** All that shall be in force. */
    dawnToggles: [...new Set([...toggleProfiles[environment.AXLE_TOGGLES], ...environment.AXLE_DAWN_TOGGLES])],
  }))

export type WorkerSettings = z.infer<typeof settings>

/** @throws ZodError naming the variables. */
export function parseSettings(environment: NodeJS.ProcessEnv): WorkerSettings {
  const given = Object.entries(environment).filter(([, value]) => value?.trim() !== '')
  return settings.parse(Object.fromEntries(given))
}
