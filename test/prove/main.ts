/**
 * `npm run prove -- NAME [--reduced]`: proofs too long for every change. In full by hand, the dated result in
 * `docs/log.md`; CI runs the reduced form through the test beside each proof.
 */
import { parseArgs } from 'node:util'

interface ProofOptions {
  readonly full: boolean
  readonly minutes?: number
  readonly perMinute?: number
}

interface Proof {
  readonly summary: string
  readonly load: () => Promise<(options: ProofOptions) => Promise<void>>
}

const proofs: Readonly<Record<string, Proof>> = {
  simulation: {
    summary:
      'seeded lives of the engine on the fake Runner: invariants I13 to I15, every sequence ends once, as it does alone',
    load: async () => (await import('./simulation.ts')).simulation,
  },
  fuzz: {
    summary: 'broken headers, configs, indexes, tokenizer files, templates: each loads or is refused by name, in time',
    load: async () => async (options) => {
      await (await import('./fuzz.ts')).fuzz(options)
    },
  },
  serving: {
    summary: 'the whole stack from npm start, the openai SDK, both modes and languages, 16 at once, a killed worker',
    load: async () => (await import('./serving.ts')).serving,
  },
  chaos: {
    summary: '32 streams on the real model while workers, janitor and Redis are killed or frozen and clients leave',
    load: async () => (await import('./chaos.ts')).chaos,
  },
  fairness: {
    summary: 'two tenants, one asking for ten times its share: what the other waits, and how far their service parts',
    load: async () => (await import('./fairness.ts')).fairness,
  },
  herd: {
    summary: '5,000 streams that lose their gateway at once come back spread, each to its own answer',
    load: async () => (await import('./herd.ts')).herd,
  },
  soak: {
    summary: 'two hours and 108,000 requests on the real model: every token as alone, invariants, flat memory',
    load: async () => async (options) => {
      await (await import('./soak.ts')).soak(options)
    },
  },
  reconciliation: {
    summary:
      '10,000 mixed requests with kills, leavers and retries: clients, logs, bills and counters agree to the token',
    load: async () => (await import('./reconciliation.ts')).reconciliation,
  },
  hygiene: {
    summary: 'canary prompts, keys and secrets through success and every failure: in no log, metric, error or name',
    load: async () => (await import('./hygiene.ts')).hygiene,
  },
  convert: {
    summary: 'exact answers of axk1-tiny converted to int8 and int4, against bf16: int8 within a point',
    load: async () => (await import('./convert.ts')).convert,
  },
}

const usage = `Usage: npm run prove -- NAME [--reduced]

${Object.entries(proofs)
  .map(([name, proof]) => `  ${name.padEnd(12)} ${proof.summary}`)
  .join('\n')}

  --reduced    the short form that CI runs
  --minutes N, --per-minute N    soak: another length, another rate of requests
Exit code 1 when the proof fails.`

const { values, positionals } = parseArgs({
  options: {
    reduced: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    'per-minute': { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowPositionals: true,
})
const [name] = positionals
const proof = name === undefined ? undefined : proofs[name]
if (values.help || name === undefined) {
  console.log(usage)
} else if (proof === undefined) {
  console.error(`There is no proof called ${name}.\n\n${usage}`)
  process.exitCode = 2
} else {
  const prove = await proof.load()
  const startedMs = performance.now()
  await prove({
    full: !values.reduced,
    ...numberOf('minutes', values.minutes),
    ...numberOf('perMinute', values['per-minute']),
  })
  console.log(`${name}: proven in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
}

function numberOf(option: 'minutes' | 'perMinute', text: string | undefined): Partial<ProofOptions> {
  if (text === undefined) return {}
  const value = Number(text)
  if (!(value > 0)) throw new RangeError(`Expected a number above 0, got '${text}'`)
  return { [option]: value }
}
