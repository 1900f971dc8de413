/**
 * `bench upload`: how fast experts of A.X K1 come from host memory to the GPU, through the ring that loads models.
 *
 * Axle keeps every expert on the GPU: there is no cache of experts to measure. What one that holds half of them would pay
 * for its misses is reckoned from the rate, and says so.
 */
import { strict as assert } from 'node:assert'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { Uploader } from '../../gpu-worker/gpu/upload.ts'
import { rowBytes, type QuantizedFormat } from '../../gpu-worker/kernels/matrix.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { machineName, type Figure, type Report } from '../report.ts'

const ROUNDS = 5
/** As many as one binding holds. */
const EXPERTS_MAX = 64
const CHECKED_BYTES = 4096
const format: QuantizedFormat = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }

export async function upload(): Promise<Report> {
  const gpu = await openDevice()
  const buffers = new Buffers(gpu, 'upload-bench')
  try {
    return {
      bench: 'upload',
      machine: machineName(),
      adapter: gpu.adapter.description,
      date: new Date().toISOString().slice(0, 10),
      notes: [
        `Up to ${EXPERTS_MAX} experts of A.X K1, int4, each from memory of its own; best of ${ROUNDS}; the end of every expert read back`,
        'and compared. Reckoned: experts drawn evenly, a cache that holds half of a layer’s hits every second time, nothing overlaps.',
      ],
      figures: await measure(gpu, buffers),
    }
  } finally {
    buffers.close()
    gpu.close()
  }
}

async function measure(gpu: Gpu, buffers: Buffers): Promise<Figure[]> {
  const { hiddenSize, moeIntermediateSize: width, expertsPerToken } = preset('axk1')
  const expertBytes = 2 * width * rowBytes(hiddenSize, format) + hiddenSize * rowBytes(width, format)
  const count = Math.min(EXPERTS_MAX, Math.floor(buffers.bindingBytesMax / expertBytes))
  const experts = Array.from({ length: count }, (_, i) => new Uint8Array(expertBytes).fill(i + 1))
  const target = buffers.storage('experts', experts.length * expertBytes)
  const readback = new Readback(gpu, buffers, CHECKED_BYTES)
  const check = async (): Promise<void> => {
    for (const i of experts.keys()) {
      const encoder = gpu.device.createCommandEncoder()
      const offset = (i + 1) * expertBytes - CHECKED_BYTES
      readback.copy(encoder, { ...target, offset }, CHECKED_BYTES)
      gpu.device.queue.submit([encoder.finish()])
      const got = await readback.read(CHECKED_BYTES, 'an expert')
      assert(
        got.every((byte) => byte === i + 1),
        `Expert ${i} is not what was uploaded`,
      )
    }
  }
  const ring = await bestSeconds(gpu, check, target.buffer, async () => {
    const uploader = new Uploader(gpu)
    for (const [i, bytes] of experts.entries()) await uploader.write(target.buffer, i * expertBytes, bytes)
    await uploader.close()
  })
  const writes = await bestSeconds(gpu, check, target.buffer, async () => {
    for (const [i, bytes] of experts.entries()) gpu.device.queue.writeBuffer(target.buffer, i * expertBytes, bytes)
    await gpu.idle('uploading')
  })
  const bytes = experts.length * expertBytes
  const missMs = (1000 * ring) / experts.length
  return [
    { name: 'experts', value: count, unit: '' },
    { name: 'one expert', value: expertBytes / 1e6, unit: 'MB' },
    { name: 'through the ring', value: bytes / ring / 1e9, unit: 'GB/s' },
    { name: 'by writeBuffer', value: bytes / writes / 1e9, unit: 'GB/s' },
    { name: 'one expert through the ring', value: missMs, unit: 'ms' },
    {
      name: 'reckoned: misses of one token in one layer, half of the experts held',
      value: (missMs * expertsPerToken) / 2,
      unit: 'ms',
    },
  ]
}

async function bestSeconds(
  gpu: Gpu,
  check: () => Promise<void>,
  target: GPUBuffer,
  run: () => Promise<void>,
): Promise<number> {
  let seconds = Infinity
  for (let round = 0; round < ROUNDS; round++) {
    const encoder = gpu.device.createCommandEncoder()
    encoder.clearBuffer(target)
    gpu.device.queue.submit([encoder.finish()])
    await gpu.idle('clearing')
    const startedMs = performance.now()
    await run()
    seconds = Math.min(seconds, (performance.now() - startedMs) / 1000)
    await check()
  }
  return seconds
}
