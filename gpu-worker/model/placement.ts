/**
 * Where weights will lie: row windows of matrices and banks of experts, each within the binding limit.
 *
 * Pure: no GPU, no file. A matrix may be stacked from several weights of the same width, in different stored formats.
 */
import { GpuError } from '../gpu/gpu-error.ts'
import type { Place } from '../kernels/bank.ts'
import { formatName, rowBytes, sameFormat, type WeightFormat } from '../kernels/matrix.ts'
import type { MatrixLayout, MatrixPart } from './layout.ts'

export interface WindowPlan {
  readonly format: WeightFormat
  /** First row in the stacked matrix. */
  readonly rowStart: number
  readonly rowCount: number
  /** Their rows lie one after the other in the window. */
  readonly parts: readonly MatrixPart[]
}

/**
 * Fills windows in order; a new one starts at the limit and where the stored format changes.
 * `rowsTogether` rows never part: the parts' row counts are multiples of it.
 */
export function planWindows(
  { parts, columnCount, rowsTogether }: Omit<MatrixLayout, 'rowCount'>,
  bindingBytesMax: number,
): WindowPlan[] {
  const windows: { format: WeightFormat; rowStart: number; rowCount: number; parts: MatrixPart[] }[] = []
  let rowStart = 0
  for (const part of parts) {
    const { name, format } = part.weight
    if (part.rowCount % rowsTogether !== 0)
      throw new RangeError(`${name} must have whole groups of ${rowsTogether} rows`)
    const bytesPerRow = rowBytes(columnCount, format)
    const rowsMax = Math.floor(bindingBytesMax / bytesPerRow / rowsTogether) * rowsTogether
    if (rowsMax === 0) throw tooLarge(name, rowsTogether * bytesPerRow, bindingBytesMax)
    for (let done = 0; done < part.rowCount;) {
      let window = windows.at(-1)
      if (window === undefined || !sameFormat(window.format, format) || window.rowCount >= rowsMax) {
        window = { format, rowStart, rowCount: 0, parts: [] }
        windows.push(window)
      }
      const rowCount = Math.min(part.rowCount - done, rowsMax - window.rowCount)
      window.parts.push({ ...part, rowStart: part.rowStart + done, rowCount })
      window.rowCount += rowCount
      rowStart += rowCount
      done += rowCount
    }
  }
  return windows
}

export interface ExpertSize {
  readonly hiddenSize: number
  readonly width: number
}

/** How one expert's three weights are stored. */
export interface ExpertFormats {
  readonly gateUpFormat: WeightFormat
  readonly downFormat: WeightFormat
}

export interface BankPlan extends ExpertFormats {
  readonly slotCount: number
}

export interface BankPlacement {
  readonly banks: readonly BankPlan[]
  /** For each layer given, for each expert: its bank and slot. */
  readonly places: readonly (readonly Place[])[]
}

/**
 * Puts the experts of each layer into banks of their formats, layer after layer. Experts of one layer and format that
 * would straddle two banks, but fit one, start a new one: it costs one dispatch less a step.
 */
export function planBanks(
  layers: readonly (readonly ExpertFormats[])[],
  size: ExpertSize,
  bindingBytesMax: number,
): BankPlacement {
  const banks: (BankPlan & { slotCount: number })[] = []
  /** By format, the bank being filled and how many slots it can have. */
  const open = new Map<string, { index: number; readonly slotsMax: number }>()
  const places = layers.map((experts) => {
    const counts = Map.groupBy(experts, formatsKey)
    for (const [key, [formats, ...others]] of counts) {
      if (formats === undefined) continue
      const slotsMax = open.get(key)?.slotsMax ?? slotsOf(formats, size, bindingBytesMax)
      const last = banks[open.get(key)?.index ?? -1]
      const free = last === undefined ? 0 : slotsMax - last.slotCount
      const needed = others.length + 1
      if (free >= needed || (free > 0 && needed > slotsMax)) continue
      open.set(key, { index: banks.length, slotsMax })
      banks.push({ ...formats, slotCount: 0 })
    }
    return experts.map((formats) => {
      const filling = open.get(formatsKey(formats))
      let bank = banks[filling?.index ?? -1]
      if (filling === undefined || bank === undefined) throw new RangeError('No bank is open')
      if (bank.slotCount === filling.slotsMax) {
        filling.index = banks.length
        bank = { gateUpFormat: formats.gateUpFormat, downFormat: formats.downFormat, slotCount: 0 }
        banks.push(bank)
      }
      bank.slotCount += 1
      return { bank: filling.index, slot: bank.slotCount - 1 }
    })
  })
  return { banks, places }
}

function formatsKey({ gateUpFormat, downFormat }: ExpertFormats): string {
  return `${formatName(gateUpFormat)} / ${formatName(downFormat)}`
}

/** Experts that one bank can hold: each of its three buffers is one binding. */
function slotsOf(
  { gateUpFormat, downFormat }: ExpertFormats,
  { hiddenSize, width }: ExpertSize,
  bindingBytesMax: number,
): number {
  const slotBytes = Math.max(width * rowBytes(hiddenSize, gateUpFormat), hiddenSize * rowBytes(width, downFormat))
  const slots = Math.floor(bindingBytesMax / slotBytes)
  if (slots === 0) throw tooLarge('an expert', slotBytes, bindingBytesMax)
  return slots
}

function tooLarge(what: string, needBytes: number, bindingBytesMax: number): GpuError {
  return new GpuError(
    'limit',
    `Cannot place ${what}: ${needBytes} bytes must lie together, one binding holds ${bindingBytesMax}`,
  )
}
