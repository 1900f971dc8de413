/**
 * Routed experts that take turns in fewer slots than there are: all of them wait in host memory, a step's lie in the banks.
 *
 *     host memory, a buffer an expert   | gate records | up records | down records |
 *
 * Host memory that the GPU can reach by itself: to bring an expert is three copies among a step's commands, and no byte
 * passes through this process again. Knows no routing and no file; which expert leaves is `residency.ts`'s.
 */
import { strict as assert } from 'node:assert'
import { Buffers } from '../gpu/buffers.ts'
import type { Gpu } from '../gpu/device.ts'
import { NO_BANK, type Bank, type LayerExperts, type Place } from '../kernels/bank.ts'
import { rowBytes } from '../kernels/matrix.ts'
import { Residency, type Round } from './residency.ts'

/** A layer whose routed experts take turns: the first of its experts by number. */
export interface TakingTurns {
  readonly experts: LayerExperts
  readonly routedCount: number
  /** Where their slots lie. */
  readonly slots: readonly Place[]
  /** Of the experts behind the routed ones, which stay. */
  readonly staying: readonly Place[]
}

/** Where an expert's row records are to be written, in host memory. */
export interface ExpertMemory {
  readonly gate: Uint8Array<ArrayBuffer>
  readonly up: Uint8Array<ArrayBuffer>
  readonly down: Uint8Array<ArrayBuffer>
}

/** Since the cache was filled, of all layers together. */
export interface CacheFigures {
  /** A step's distinct experts, layer by layer. */
  readonly needed: number
  /** Of them, those that lay in a slot. */
  readonly held: number
  readonly bytesBrought: number
}

interface Layer {
  readonly turns: TakingTurns
  readonly residency: Residency
  /** By expert. */
  readonly waiting: readonly GPUBuffer[]
}

export class ExpertCache {
  readonly #gpu: Gpu
  readonly #host: Buffers
  readonly #layers: readonly Layer[]
  #bytesBrought = 0

  /** Takes the host memory, to be written through `memory` and closed by `seal` before the first step. */
  constructor(gpu: Gpu, layers: readonly TakingTurns[]) {
    this.#gpu = gpu
    this.#host = new Buffers(gpu, 'experts waiting')
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC
    this.#layers = layers.map((turns) => {
      const bytes = expertBytes(turns)
      const waiting = Array.from({ length: turns.routedCount }, (_, expert) =>
        this.#host.create(`${expert}`, bytes, usage, true),
      )
      return { turns, residency: new Residency(turns.routedCount, turns.slots.length), waiting }
    })
  }

  get hostBytes(): number {
    return this.#host.bytes
  }

  get figures(): CacheFigures {
    const sum = (of: (residency: Residency) => number): number =>
      this.#layers.reduce((all, { residency }) => all + of(residency), 0)
    return {
      needed: sum(({ needed }) => needed),
      held: sum(({ held }) => held),
      bytesBrought: this.#bytesBrought,
    }
  }

  /** Once an expert, before `seal`. Every byte is to be written. */
  memory(layer: number, expert: number): ExpertMemory {
    const { turns, waiting } = this.#layer(layer)
    const mapped = waiting[expert]?.getMappedRange()
    assert(mapped !== undefined, `Layer ${layer} has no expert ${expert}`)
    const { tall, wide } = matrixBytes(turns)
    return {
      gate: new Uint8Array(mapped, 0, tall),
      up: new Uint8Array(mapped, tall, tall),
      down: new Uint8Array(mapped, 2 * tall, wide),
    }
  }

  /** From here on the GPU alone reads it. */
  seal(): void {
    for (const { waiting } of this.#layers) for (const buffer of waiting) buffer.unmap()
  }

  /** The rounds of a step that chose these, in which `bring` is called for each in order. `chosen`: as the router left it. */
  rounds(layer: number, chosen: Uint32Array): Round[] {
    const { turns, residency } = this.#layer(layer)
    return residency.plan(new Set(chosen.filter((expert) => expert < turns.routedCount)))
  }

  /**
   * Adds a round's copies to `encoder`, whose products come behind them and are the first to be submitted from now on: the
   * table of places is the round's own at once.
   */
  bring(layer: number, round: Round, isFirst: boolean, encoder: GPUCommandEncoder): void {
    const { turns, waiting } = this.#layer(layer)
    const { tall, wide } = matrixBytes(turns)
    for (const { expert, slot } of round.loads) {
      const { bank, at } = bankOf(turns, slot)
      const source = waiting[expert]
      assert(source !== undefined, `Layer ${layer} has no expert ${expert}`)
      const parts = [
        { target: bank.gate, start: 0, bytes: tall },
        { target: bank.up, start: tall, bytes: tall },
        { target: bank.down, start: 2 * tall, bytes: wide },
      ]
      for (const { target, start, bytes } of parts) {
        encoder.copyBufferToBuffer(source, start, target.buffer, target.offset + at * bytes, bytes)
      }
      this.#bytesBrought += 2 * tall + wide
    }
    const { buffer, offset } = turns.experts.places
    this.#gpu.device.queue.writeBuffer(buffer, offset, placesOf(turns, round, isFirst))
  }

  close(): void {
    this.#host.close()
  }

  #layer(index: number): Layer {
    const layer = this.#layers[index]
    assert(layer !== undefined, `No layer ${index} has experts that take turns`)
    return layer
  }
}

/** Of all routed experts, in host memory. */
export function waitingBytes(turns: TakingTurns): number {
  return turns.routedCount * expertBytes(turns)
}

/** Who stays is computed once, in the first round; an expert of another round is nowhere. */
function placesOf({ experts, routedCount, slots, staying }: TakingTurns, round: Round, isFirst: boolean) {
  const table = new Uint32Array(2 * experts.expertCount)
  for (let expert = 0; expert < experts.expertCount; expert++) table[2 * expert] = NO_BANK
  const put = (expert: number, place: Place | undefined): void => {
    if (place !== undefined) table.set([place.bank, place.slot], 2 * expert)
  }
  for (const { expert, slot } of round.experts) put(expert, slots[slot])
  if (isFirst) for (const [i, place] of staying.entries()) put(routedCount + i, place)
  return table
}

function expertBytes(turns: TakingTurns): number {
  const { tall, wide } = matrixBytes(turns)
  return 2 * tall + wide
}

/** Of gate or up, and of down: all slots of a layer are of one format. */
function matrixBytes(turns: TakingTurns): { readonly tall: number; readonly wide: number } {
  const { hiddenSize, width } = turns.experts
  const { gateUpFormat, downFormat } = bankOf(turns, 0).bank
  return { tall: width * rowBytes(hiddenSize, gateUpFormat), wide: hiddenSize * rowBytes(width, downFormat) }
}

function bankOf({ experts, slots }: TakingTurns, slot: number): { readonly bank: Bank; readonly at: number } {
  const place = slots[slot]
  const bank = experts.banks.find(({ index }) => index === place?.bank)
  assert(place !== undefined && bank !== undefined, `Slot ${slot} lies in no bank`)
  return { bank, at: place.slot }
}
