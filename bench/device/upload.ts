/**
 * `bench upload`: how fast experts of A.X K1 come from host memory to the GPU, and what a layer costs whose experts take
 * turns in slots for half of them.
 *
 * From host memory that the GPU reads by itself, as experts wait in it; through the ring that loads models; by writeBuffer.
 */
import { strict as assert } from 'node:assert'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { Uploader } from '../../gpu-worker/gpu/upload.ts'
import { rowBytes, type QuantizedFormat } from '../../gpu-worker/kernels/matrix.ts'
import { preset } from '../../gpu-worker/model/presets.ts'
import { machineName, type Figure, type Report } from '../report.ts'
import { tinyResidency } from '../residency/tiny-residency.ts'
import { residencyFigures, residencySizes } from './residency.ts'

const ROUNDS = 3
/** As many as one binding holds. */
const EXPERTS_MAX = 64
const CHECKED_BYTES = 4096
const format: QuantizedFormat = { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false }

export async function upload(): Promise<Report> {
  const gpu = await openDevice()
  const { processor } = gpu
  const buffers = new Buffers(gpu, 'upload-bench')
  let ways: Figure[]
  try {
    ways = await measure(gpu, buffers)
  } finally {
    buffers.close()
    gpu.close()
  }
  const whole = preset('axk1')
  // On a CPU the fewest experts that the routing allows.
  const config = processor === 'gpu' ? whole : { ...whole, routedExpertCount: 16 }
  return {
    bench: 'upload',
    machine: machineName(),
    adapter: gpu.adapter.description,
    date: new Date().toISOString().slice(0, 10),
    notes: [
      `Up to ${EXPERTS_MAX} experts of A.X K1, int4, each from memory of its own; best of ${ROUNDS}; the end of every expert read back`,
      'and compared. Then one expert layer of A.X K1 (int4 experts, the rest int8; counter-hash weights) with slots for half',
      'of its experts: decodes of drawn streams, whose tokens share what all, their topic and their request have in common;',
      'its router chooses, and a quarter of the steps only fill the cache. Held: of the experts that steps needed, those that',
      'lay in a slot. Then axk1-tiny: routes of its twelve chats as transformers took them, and answers through the engine.',
    ],
    figures: [...ways, ...(await residencyFigures(config, residencySizes(processor))), ...(await tinyResidency())],
  }
}

async function measure(gpu: Gpu, buffers: Buffers): Promise<Figure[]> {
  const { hiddenSize, moeIntermediateSize: width } = preset('axk1')
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
  const waiting = experts.map((contents, i) => {
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC
    const buffer = buffers.create(`waiting ${i}`, expertBytes, usage, true)
    new Uint8Array(buffer.getMappedRange()).set(contents)
    buffer.unmap()
    return buffer
  })
  const copies = await bestSeconds(gpu, check, target.buffer, async () => {
    const encoder = gpu.device.createCommandEncoder()
    for (const [i, buffer] of waiting.entries()) {
      encoder.copyBufferToBuffer(buffer, 0, target.buffer, i * expertBytes, expertBytes)
    }
    gpu.device.queue.submit([encoder.finish()])
    await gpu.idle('uploading')
  })
  const bytes = experts.length * expertBytes
  return [
    { name: 'experts', value: count, unit: '' },
    { name: 'one expert', value: expertBytes / 1e6, unit: 'MB' },
    { name: 'from memory that the GPU reads by itself', value: bytes / copies / 1e9, unit: 'GB/s' },
    { name: 'through the ring', value: bytes / ring / 1e9, unit: 'GB/s' },
    { name: 'by writeBuffer', value: bytes / writes / 1e9, unit: 'GB/s' },
    { name: 'one expert from memory that the GPU reads', value: (1000 * copies) / experts.length, unit: 'ms' },
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
