/** A thread that quantises chunks of rows, one message in, one message out. It knows neither files nor order. */
import { parentPort } from 'node:worker_threads'
import type { PlainFormat } from '../../gpu-worker/kernels/matrix.ts'
import { widened } from '../../gpu-worker/model/widened.ts'
import { quantizeRows, type GroupFormat, type NotFinite, type QuantizedRows } from './group-quantizer.ts'

export interface QuantizeTask {
  /** Rows as stored, in a buffer of their own; handed over. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly type: PlainFormat
  readonly columnCount: number
  readonly format: GroupFormat
}

export type QuantizeResult = QuantizedRows | NotFinite

parentPort?.on('message', ({ bytes, type, columnCount, format }: QuantizeTask) => {
  const result: QuantizeResult = quantizeRows(widened(bytes, type), columnCount, format)
  const handedOver = result.kind === 'quantized' ? [result.packed.buffer, result.scales.buffer] : []
  parentPort?.postMessage(result, handedOver)
})
