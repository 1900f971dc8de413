/** `npm run bench -- NAME [--json] [--control] [--short] [--write]`: the one way to every number in the documentation. */
import { parseArgs } from 'node:util'
import { CannotMeasure, printReport, type Report } from './report.ts'

interface BenchOptions {
  readonly isControl: boolean
  readonly isShort: boolean
  readonly isWrite: boolean
}

interface Bench {
  readonly summary: string
  readonly load: () => Promise<(options: BenchOptions) => Promise<Report>>
}

const benches: Readonly<Record<string, Bench>> = {
  serve: {
    summary: 'tokens/s for 1, 8 and 32 streams and time to first token, through the engine alone and through the API',
    load: async () => (await import('./serve.ts')).serve,
  },
  peers: {
    summary: 'decode and prefill of axk1-tiny against Hugging Face transformers on this CPU, in turns in one run',
    load: async () => (await import('./peers.ts')).peers,
  },
  scaling: {
    summary:
      "a step by sequences and context, the host's share of it, a token by the length of the queue, an idle worker",
    load: async () => (await import('./scaling.ts')).scaling,
  },
  ordering: {
    summary: 'time to first token of the engine against first come, first served, on a simulated clock: same arrivals',
    load: async () => (await import('./ordering.ts')).ordering,
  },
  exactness: {
    summary:
      'requests alone and in twenty mixes, bit for bit, through the engine; and what the order of sums costs; 12 min',
    load: async () => (await import('./exactness.ts')).exactness,
  },
  roofline: {
    summary: "this adapter's peaks, and the share of them that each kernel reaches; products beside naive ones",
    load: async () => (await import('./roofline.ts')).roofline,
  },
  immediates: {
    summary: 'what a dispatch costs with its parameters as immediates, and in a uniform buffer; seconds',
    load: async () => (await import('./immediates.ts')).immediates,
  },
  'k1-layer': {
    summary:
      'one A.X K1 expert layer at full width against an f64 reference, and its time beside the plan; 5 GiB, minutes',
    load: async () => (await import('./k1-layer.ts')).k1Layer,
  },
  adapter: {
    summary: "the adapter's limits, features and subgroup matrices, under each set of toggles",
    load: async () => (await import('./device/adapter.ts')).adapter,
  },
  goldens: {
    summary: 'all goldens and axk1-tiny under the safe and the fast toggles: worst NMSE, greedy answers',
    load: async () => (await import('./device/goldens.ts')).goldens,
  },
  'k1-kernels': {
    summary: "products, experts and attention at A.X K1's shapes: formats, batches, contexts, share of the nearer roof",
    load: async () => (await import('./device/k1-kernels.ts')).k1Kernels,
  },
  'k1-stack': {
    summary: "decode of as many of A.X K1's layers as fit (AXLE_BENCH_GB: 78), against what a step must read",
    load: async () => (await import('./device/k1-stack.ts')).k1Stack,
  },
  'layer-profile': {
    summary: "GPU time of each dispatch of a layer and of a step's ends, at A.X K1's widths, by timestamps",
    load: async () => (await import('./device/layer-profile.ts')).layerProfile,
  },
  streams: {
    summary:
      'axk1-tiny on this adapter: tokens/s of many streams, what a step costs the host, and torch on the same GPU',
    load: async () => (await import('./device/streams.ts')).streams,
  },
  upload: {
    summary: 'experts from host memory to the GPU, GB/s',
    load: async () => (await import('./device/upload.ts')).upload,
  },
}

const usage = `Usage: npm run bench -- NAME [--json] [--control] [--short] [--write]

${Object.entries(benches)
  .map(([name, bench]) => `  ${name.padEnd(10)} ${bench.summary}`)
  .join('\n')}

  --json     one JSON object on the last line: {bench, machine, adapter, date, figures}
  --control  what must fail: k1-layer with one scale of the reference falsified, exactness with a free order of sums
  --short    exactness: an eighth of the requests, in a minute or two; how many there are is not judged
  --write    roofline: the table into docs/performance.md
Exit code 1 when a figure falls short of its goal, or an output was wrong; 2 when this machine lacks what a bench needs, or
what was asked is none.
  peers       needs Python with bench/peers/requirements.txt: python3, or what AXLE_PYTHON names`

const asked = parsed()
if (asked.kind === 'refused') {
  console.error(`${asked.message}\n\n${usage}`)
  process.exitCode = 2
} else if (asked.name === undefined) {
  console.log(usage)
} else {
  await run(asked.name, asked.options, asked.isJson)
}

async function run(name: string, options: BenchOptions, isJson: boolean): Promise<void> {
  const bench = Object.hasOwn(benches, name) ? benches[name] : undefined
  if (bench === undefined) {
    console.error(`There is no bench called ${name}.\n\n${usage}`)
    process.exitCode = 2
    return
  }
  const measure = await bench.load()
  try {
    printReport(await measure(options), isJson)
  } catch (error) {
    if (!(error instanceof CannotMeasure)) throw error
    console.error(error.message)
    process.exitCode = 2
  }
}

type Asked =
  | { readonly kind: 'refused'; readonly message: string }
  /** Without a name: how to use it is asked for. */
  | {
      readonly kind: 'bench'
      readonly name: string | undefined
      readonly options: BenchOptions
      readonly isJson: boolean
    }

function parsed(): Asked {
  try {
    const { values, positionals } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        control: { type: 'boolean', default: false },
        short: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      allowPositionals: true,
    })
    const options = { isControl: values.control, isShort: values.short, isWrite: values.write }
    return { kind: 'bench', name: values.help ? undefined : positionals[0], options, isJson: values.json }
  } catch (error) {
    // What parseArgs throws for a word it does not know.
    if (!(error instanceof TypeError)) throw error
    return { kind: 'refused', message: error.message }
  }
}
