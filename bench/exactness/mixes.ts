/** The companies that `bench exactness` answers in: which Runner, what chunks, how many at once. */
import type { NamedMix, RunnerShape } from './proof.ts'

const onePlan: RunnerShape = { sequencesMax: 32, stepsInFlight: 1 }
const overlapping: RunnerShape = { sequencesMax: 32, stepsInFlight: 2 }
/** Fewer blocks than its sequences ask for: they are preempted, and what the cache keeps is evicted. */
const tight: RunnerShape = { sequencesMax: 32, stepsInFlight: 1, blockCount: 144 }
const tightOverlapping: RunnerShape = { ...tight, stepsInFlight: 2 }
/** The kernels for CPU adapters and for GPUs, whatever the adapter. */
const cpuKernels: RunnerShape = { ...onePlan, processor: 'cpu' }
const gpuKernels: RunnerShape = { ...tightOverlapping, processor: 'gpu' }
/** As on an adapter whose lanes cannot swap values. */
const lanesApart: RunnerShape = { ...overlapping, subgroups: false }
/** Bindings so narrow that the experts of a layer lie in several banks. */
const narrow: RunnerShape = { sequencesMax: 16, rowsMax: 32, stepsInFlight: 1, bindingBytesMax: 192 * 1024 }
const wide: RunnerShape = { sequencesMax: 64, rowsMax: 512, stepsInFlight: 1 }

/** Chunks of primes and of powers of two, of a few rows and of all that a step holds. */
export const mixes: readonly NamedMix[] = [
  { name: '32 at once', shape: onePlan, prefillRowsMax: 256, companyMax: 32 },
  { name: 'kernels for CPU adapters, chunks of 61', shape: cpuKernels, prefillRowsMax: 61, companyMax: 32 },
  { name: '24 at once, chunks of 128', shape: onePlan, prefillRowsMax: 128, companyMax: 24 },
  { name: '8 at once, chunks of 97', shape: onePlan, prefillRowsMax: 97, companyMax: 8 },
  { name: '64 at once, chunks of 480', shape: wide, prefillRowsMax: 480, companyMax: 64 },
  { name: '64 at once, chunks of 199', shape: wide, prefillRowsMax: 199, companyMax: 64 },
  { name: '48 at once, chunks of 500', shape: wide, prefillRowsMax: 500, companyMax: 48 },
  { name: 'steps overlap', shape: overlapping, prefillRowsMax: 256, companyMax: 32 },
  { name: 'steps overlap, chunks of 64', shape: overlapping, prefillRowsMax: 64, companyMax: 32 },
  { name: 'steps overlap, chunks of 31', shape: overlapping, prefillRowsMax: 31, companyMax: 32 },
  { name: 'steps overlap, 6 at once', shape: overlapping, prefillRowsMax: 150, companyMax: 6 },
  { name: 'steps overlap, 12 at once, chunks of 47', shape: overlapping, prefillRowsMax: 47, companyMax: 12 },
  { name: 'without subgroups', shape: lanesApart, prefillRowsMax: 220, companyMax: 32 },
  { name: 'few blocks', shape: tight, prefillRowsMax: 256, companyMax: 32 },
  { name: 'few blocks, chunks of 71', shape: tight, prefillRowsMax: 71, companyMax: 24 },
  { name: 'few blocks, chunks of 200', shape: tight, prefillRowsMax: 200, companyMax: 32 },
  { name: 'few blocks, steps overlap', shape: tightOverlapping, prefillRowsMax: 256, companyMax: 32 },
  { name: 'few blocks, steps overlap, chunks of 113', shape: tightOverlapping, prefillRowsMax: 113, companyMax: 28 },
  {
    name: 'kernels for GPUs, few blocks',
    shape: gpuKernels,
    prefillRowsMax: 256,
    companyMax: 32,
  },
  { name: 'narrow bindings, chunks of 27', shape: narrow, prefillRowsMax: 27, companyMax: 16 },
]
