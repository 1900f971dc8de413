/**
 * One layer's experts on the bench: groups, both products; every output checked in f64.
 *
 * All experts hold the same weights, a block of rows over and over: which expert serves a pair is the kernels' tests' to judge.
 */
import type { ProbeBench } from '../../cli/plan/probe-bench.ts'
import { expertDownReference } from '../../gpu-worker/kernels/expert-down.ref.ts'
import { expertDown } from '../../gpu-worker/kernels/expert-down.ts'
import { expertGateUpReference } from '../../gpu-worker/kernels/expert-gate-up.ref.ts'
import { expertGateUp } from '../../gpu-worker/kernels/expert-gate-up.ts'
import { byGroups, expertGroups, stepGroups, stepGroupsBytes } from '../../gpu-worker/kernels/expert-groups.ts'
import {
  formatName,
  paddedColumns,
  rowBytes,
  type Activation,
  type WeightFormat,
} from '../../gpu-worker/kernels/matrix.ts'
import { dice } from '../../test/fixtures/dice.ts'
import { seeded } from '../../test/fixtures/numbers.ts'
import { storedRows } from '../../test/fixtures/stored-rows.ts'
import { repeated, type ProductTimes } from './products.ts'

export interface ExpertsCase {
  readonly format: WeightFormat
  readonly expertCount: number
  readonly top: number
  readonly hiddenSize: number
  readonly width: number
  readonly rows: number
}

const BLOCK_ROWS = 32
/** Two products and SwiGLU, relative to the largest result. */
const ERROR_MAX = 1e-4

export function expertsName({ format, expertCount, top, hiddenSize, width, rows }: ExpertsCase): string {
  return `${expertCount} experts of ${width} × ${hiddenSize}, ${top} a row, ${formatName(format)}, ${rows} ${rows === 1 ? 'row' : 'rows'}`
}

export async function timeExperts(bench: ProbeBench, shape: ExpertsCase): Promise<ProductTimes> {
  const { format, expertCount, top, hiddenSize, width, rows } = shape
  const rowsMax = Math.ceil(rows / 4) * 4
  const blocks = {
    gate: storedRows(BLOCK_ROWS, hiddenSize, format, 1, 1 / Math.sqrt(hiddenSize)),
    up: storedRows(BLOCK_ROWS, hiddenSize, format, 2, 1 / Math.sqrt(hiddenSize)),
    down: storedRows(BLOCK_ROWS, width, format, 3, 1 / Math.sqrt(width)),
  }
  const bank = {
    index: 0,
    slotCount: expertCount,
    gateUpFormat: format,
    downFormat: format,
    gate: repeated(bench, blocks.gate.bytes, (expertCount * width) / BLOCK_ROWS),
    up: repeated(bench, blocks.up.bytes, (expertCount * width) / BLOCK_ROWS),
    down: repeated(bench, blocks.down.bytes, (expertCount * hiddenSize) / BLOCK_ROWS),
  }
  const draw = dice(7)
  const chosenIds = Array.from({ length: rowsMax }, () => distinct(top, () => draw(0, expertCount - 1))).flat()
  const chosen = bench.storage('chosen', chosenIds.length * 4)
  bench.write(chosen, Uint32Array.from(chosenIds))
  const places = bench.storage('places', expertCount * 8)
  bench.write(
    places,
    Uint32Array.from({ length: expertCount * 2 }, (_, i) => (i % 2 === 0 ? 0 : Math.floor(i / 2))),
  )
  const experts = { expertCount, hiddenSize, width, banks: [bank], places }
  const room = (name: string, count: number, columns: number): Activation => {
    const stride = paddedColumns(columns)
    return { slice: bench.storage(name, count * stride * 4), width: columns, stride }
  }
  const [x, h, y] = [
    room('x', rowsMax, hiddenSize),
    room('h', rowsMax * top, width),
    room('y', rowsMax * top, hiddenSize),
  ]
  const values = seeded(rowsMax * hiddenSize, 4)
  bench.write(x.slice, values)
  const sizes = { expertCount, top, rowsMax }
  const groups = stepGroups(sizes, bench.storage('groups', stepGroupsBytes(sizes)))
  const seconds = await bench.seconds(
    [
      ...byGroups(groups, (own, processor) => [expertGroups(chosen, own, processor)]),
      ...expertGateUp({ chosen, x, experts, h }, top, rowsMax, groups),
      ...expertDown({ chosen, h, experts, y }, top, rowsMax, groups),
    ],
    rows,
  )
  const got = new Float32Array(await bench.read(y.slice, rows * top * hiddenSize * 4))
  for (let row = 0; row < rows; row++) {
    const own = values.subarray(row * hiddenSize, (row + 1) * hiddenSize)
    const part = expertGateUpReference(own, blocks.gate.values, blocks.up.values)
    const hidden = Float64Array.from({ length: width }, (_, i) => part[i % BLOCK_ROWS] ?? NaN)
    const wanted = expertDownReference(hidden, blocks.down.values)
    const largest = Math.max(...wanted.map(Math.abs))
    bench.check(
      'experts',
      got
        .subarray(row * top * hiddenSize, (row + 1) * top * hiddenSize)
        .every((value, i) => Math.abs(value - (wanted[i % BLOCK_ROWS] ?? NaN)) <= ERROR_MAX * largest),
    )
  }
  const read = new Set(chosenIds.slice(0, rows * top)).size
  return {
    seconds,
    naiveSeconds: null,
    bytes: read * (2 * width * rowBytes(hiddenSize, format) + hiddenSize * rowBytes(width, format)),
    flops: 2 * 3 * rows * top * hiddenSize * width,
  }
}

function distinct(count: number, next: () => number): number[] {
  const ids = new Set<number>()
  while (ids.size < count) ids.add(next())
  return [...ids]
}
