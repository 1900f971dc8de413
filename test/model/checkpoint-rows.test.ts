/** Rows of a checkpoint on the real device: they arrive whole, in bounded host memory, counted. */
import { mkdtemp, open, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Buffers } from '../../gpu-worker/gpu/buffers.ts'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { Readback } from '../../gpu-worker/gpu/readback.ts'
import { rowBytes } from '../../gpu-worker/kernels/matrix.ts'
import { CheckpointRows, type LoadProgress } from '../../gpu-worker/model/checkpoint-rows.ts'
import type { StoredWeight } from '../../gpu-worker/model/row-source.ts'
import {
  layoutSafetensors,
  readSafetensors,
  writeSafetensors,
  type SafetensorsFile,
  type TensorData,
} from '../../gpu-worker/model/safetensors.ts'

const MIB = 1 << 20

let gpu: Gpu
let dir: string
let buffers: Buffers
beforeAll(async () => {
  gpu = await openDevice()
  dir = await mkdtemp(join(tmpdir(), 'axle-rows-'))
  buffers = new Buffers(gpu, 'test')
})
afterAll(async () => {
  buffers.close()
  gpu.close()
  await rm(dir, { recursive: true })
})

function plain(name: string, rowCount: number, columnCount: number, format: 'f32' | 'bf16'): StoredWeight {
  return { name, values: name, scales: null, zeroPoints: null, rowCount, columnCount, format, rowsPerScale: 1 }
}

const int4: StoredWeight = {
  name: 'w',
  values: 'w.weight_packed',
  scales: 'w.weight_scale',
  zeroPoints: null,
  rowCount: 40,
  columnCount: 44,
  format: { kind: 'int4', groupColumns: 32, scale: 'bf16', hasZeroPoints: false },
  rowsPerScale: 1,
}

async function fileOf(name: string, tensors: readonly TensorData[]): Promise<SafetensorsFile> {
  await writeSafetensors(join(dir, name), tensors)
  return readSafetensors(join(dir, name))
}

function bf16(name: string, shape: number[], values: Uint16Array<ArrayBuffer>): TensorData {
  return { name, type: 'bf16', shape, data: new Uint8Array(values.buffer) }
}

describe('CheckpointRows', () => {
  // First: what an earlier test left to be collected would hide what this one takes.
  it('holds at most 256 MiB of host memory while 850 MiB pass through, bf16 with padding and int4', async () => {
    const path = join(dir, 'large.safetensors')
    const wide = { ...int4, rowCount: 16384, columnCount: 65536 } as const
    const halves = plain('halves', 32768, 4095, 'bf16')
    const layout = layoutSafetensors('large.safetensors', [
      { name: 'halves', type: 'bf16', shape: [32768, 4095], byteLength: 32768 * 4095 * 2 },
      { name: int4.values, type: 'i32', shape: [16384, 8192], byteLength: 16384 * 8192 * 4 },
      { name: 'w.weight_scale', type: 'bf16', shape: [16384, 2048], byteLength: 16384 * 2048 * 2 },
    ])
    const handle = await open(path, 'w')
    await handle.write(layout.header)
    // A hole reads as zeros and takes no disk.
    await handle.truncate(layout.byteLength)
    await handle.close()
    const file = await readSafetensors(path)
    // On a software adapter GPU memory is ours too: it is touched before the measurement begins, and written over.
    const target = buffers.storage('large', 64 * MIB)
    const clearing = gpu.device.createCommandEncoder()
    clearing.clearBuffer(target.buffer)
    gpu.device.queue.submit([clearing.finish()])
    await gpu.idle('clearing')
    const before = process.memoryUsage.rss()
    let peak = 0
    const onProgress = (): void => {
      peak = Math.max(peak, process.memoryUsage.rss() - before)
    }
    const rows = new CheckpointRows(gpu, file, { bytesTotal: layout.byteLength, onProgress })
    for (const weight of [halves, wide]) {
      const record = rowBytes(weight.columnCount, weight.format)
      const count = Math.floor(target.bytes / record)
      for (let row = 0; row < weight.rowCount; row += count) {
        await rows.rows(weight, row, Math.min(count, weight.rowCount - row), target, 0)
      }
    }
    await rows.close()
    await file.close()
    // Less than the ring would mean that nothing was measured.
    expect(peak / MIB).toBeGreaterThan(64)
    expect(peak / MIB).toBeLessThan(256)
  })

  it('brings hundreds of small tensors to their places, packed and plain', async () => {
    const packed = Uint32Array.from({ length: 40 * 6 }, (_, i) => Math.imul(i, 0x9e3779b1))
    const scales = Uint16Array.from({ length: 40 * 2 }, (_, i) => 0x3f80 + i)
    const halves = Uint16Array.from({ length: 300 * 3 }, (_, i) => 0x3f80 + i)
    const tensors: TensorData[] = [
      { name: int4.values, type: 'i32', shape: [40, 6], data: new Uint8Array(packed.buffer) },
      bf16('w.weight_scale', [40, 2], scales),
      ...Array.from({ length: 300 }, (_, i) => bf16(`row-${i}`, [1, 3], halves.slice(i * 3, i * 3 + 3))),
    ]
    const file = await fileOf('small.safetensors', tensors)
    const record = rowBytes(44, int4.format)
    const target = buffers.storage('rows', 300 * 16 + 40 * record)
    const reports: LoadProgress[] = []
    const bytesTotal = tensors.reduce((sum, { data }) => sum + data.byteLength, 0)
    const rows = new CheckpointRows(gpu, file, { bytesTotal, onProgress: (progress) => reports.push(progress) })
    for (let i = 0; i < 300; i++) await rows.rows(plain(`row-${i}`, 1, 3, 'bf16'), 0, 1, target, i * 16)
    await rows.rows(int4, 10, 30, target, 300 * 16 + 10 * record)
    await rows.rows(int4, 0, 10, target, 300 * 16)
    await rows.close()
    await file.close()
    const bytes = await readBack(target.bytes)
    const small = new Uint16Array(bytes.buffer, 0, 300 * 8)
    expect(small.filter((_, i) => i % 8 < 3)).toEqual(halves)
    expect(small.filter((half, i) => i % 8 >= 3 && half !== 0).length).toBe(0)
    for (let row = 0; row < 40; row++) {
      const start = 300 * 16 + row * record
      expect([...new Uint32Array(bytes.buffer, start, 6)]).toEqual([...packed.subarray(row * 6, row * 6 + 6)])
      expect([...new Uint16Array(bytes.buffer, start + 32, 2)]).toEqual([...scales.subarray(row * 2, row * 2 + 2)])
    }
    expect(reports.at(-1)).toMatchObject({ bytesDone: bytesTotal, bytesTotal, remainingMs: 0 })
    expect(rows.notFinite.size).toBe(0)

    async function readBack(count: number): Promise<Uint8Array<ArrayBuffer>> {
      const readback = new Readback(gpu, buffers, count)
      const encoder = gpu.device.createCommandEncoder()
      readback.copy(encoder, target, count)
      gpu.device.queue.submit([encoder.finish()])
      return readback.read(count, 'a test')
    }
  })

  it('counts NaN and infinite weights, scales and biases by tensor, and goes on', async () => {
    const values = new Uint16Array(24)
    values.set([0x7fc0, 0xff80, 0x7f7f], 4)
    const scales = new Uint16Array(80)
    scales[79] = 0x7f80
    const file = await fileOf('not-finite.safetensors', [
      bf16('fine', [3, 8], new Uint16Array(24)),
      bf16('odd', [3, 8], values),
      bf16('bias', [1], Uint16Array.of(0xffff)),
      { name: int4.values, type: 'i32', shape: [40, 6], data: new Uint8Array(960).fill(0xff) },
      bf16('w.weight_scale', [40, 2], scales),
    ])
    const rows = new CheckpointRows(gpu, file, { bytesTotal: 0 })
    const target = buffers.storage('rows', 40 * rowBytes(44, int4.format))
    for (const name of ['fine', 'odd']) await rows.rows(plain(name, 3, 8, 'bf16'), 0, 3, target, 0)
    await rows.rows(int4, 0, 40, target, 0)
    expect(await rows.vector('bias')).toEqual(Float32Array.of(NaN))
    await rows.close()
    await file.close()
    expect(rows.notFinite).toEqual(new Map([['odd', 2], ['bias', 1], ['w.weight_scale', 1]])) // prettier-ignore
  })

  it('counts a scale that rows share once, though each piece of them reads it', async () => {
    const file = await fileOf('shared-scale.safetensors', [
      { name: int4.values, type: 'i32', shape: [40, 6], data: new Uint8Array(960) },
      bf16('w.weight_scale', [2, 2], Uint16Array.of(0, 0x7fc0, 0x7fc0, 0)),
    ])
    const progress: LoadProgress[] = []
    const bytesTotal = 960 + 8
    const rows = new CheckpointRows(gpu, file, { bytesTotal, onProgress: (told) => progress.push(told) })
    const target = buffers.storage('rows', 40 * rowBytes(44, int4.format))
    const shared = { ...int4, rowsPerScale: 32 }
    for (const start of [0, 10, 20, 30]) await rows.rows(shared, start, 10, target, 0)
    await rows.close()
    await file.close()
    expect(rows.notFinite).toEqual(new Map([['w.weight_scale', 2]]))
    expect(progress.at(-1)?.bytesDone).toBe(bytesTotal)
  })

  it('throws when the file has been cut meanwhile', async () => {
    const file = await fileOf('cut.safetensors', [bf16('a', [1024, 8], new Uint16Array(8192))])
    await truncate(join(dir, 'cut.safetensors'), 4096)
    const rows = new CheckpointRows(gpu, file, { bytesTotal: 0 })
    await rows.rows(plain('a', 1024, 8, 'bf16'), 0, 1024, buffers.storage('rows', 16384), 0)
    await expect(rows.close()).rejects.toThrow('the file ended at byte 4096')
    await file.close()
  })
})
