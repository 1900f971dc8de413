/**
 * Where weights will lie: row windows of matrices and banks of experts, each within the binding limit.
 *
 * Pure: no GPU, no file. A matrix may be stacked from several tensors of the same width, in different stored types.
 */
import { GpuError } from '../gpu/gpu-error.ts'
import { rowBytes, type PlainFormat } from '../kernels/matrix.ts'

/** Rows of one tensor, in a stack. */
export interface StackPart {
  readonly tensor: string
  readonly rowStart: number
  readonly rowCount: number
  readonly format: PlainFormat
}

export interface WindowPlan {
  readonly format: PlainFormat
  /** First row in the stacked matrix. */
  readonly rowStart: number
  readonly rowCount: number
  /** Their rows lie one after the other in the window. */
  readonly parts: readonly StackPart[]
}

/**
 * Fills windows in order; a new one starts at the limit and where the stored type changes.
 * `rowsTogether` rows never part: the parts' row counts are multiples of it.
 */
export function planWindows(
  parts: readonly StackPart[],
  columnCount: number,
  rowsTogether: number,
  bindingBytesMax: number,
): WindowPlan[] {
  const windows: { format: PlainFormat; rowStart: number; rowCount: number; parts: StackPart[] }[] = []
  let rowStart = 0
  for (const part of parts) {
    if (part.rowCount % rowsTogether !== 0)
      throw new RangeError(`${part.tensor} must have whole groups of ${rowsTogether} rows`)
    const rowsMax = Math.floor(bindingBytesMax / rowBytes(columnCount, part.format) / rowsTogether) * rowsTogether
    if (rowsMax === 0) {
      const need = rowsTogether * rowBytes(columnCount, part.format)
      throw new GpuError(
        'limit',
        `Cannot place ${part.tensor}: ${need} bytes must lie together, one binding holds ${bindingBytesMax}`,
      )
    }
    for (let done = 0; done < part.rowCount;) {
      let window = windows.at(-1)
      if (window === undefined || window.format !== part.format || window.rowCount >= rowsMax) {
        window = { format: part.format, rowStart, rowCount: 0, parts: [] }
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

export interface BankPlan {
  readonly format: PlainFormat
  readonly slotCount: number
}

export interface BankPlacement {
  readonly banks: readonly BankPlan[]
  /** For each layer given, for each expert: its bank and slot. */
  readonly places: readonly (readonly { readonly bank: number; readonly slot: number }[])[]
}

/**
 * Puts the experts of each layer (by its stored type) into banks, layer after layer. A layer that would straddle two
 * banks, but fits one, starts a new one: it costs one dispatch less a step.
 */
export function planBanks(
  layers: readonly PlainFormat[],
  expertCount: number,
  { hiddenSize, width }: ExpertSize,
  bindingBytesMax: number,
): BankPlacement {
  const banks: { format: PlainFormat; slotCount: number }[] = []
  const places = layers.map((format) => {
    const slotBytes = Math.max(width * rowBytes(hiddenSize, format), hiddenSize * rowBytes(width, format))
    const slotsMax = Math.floor(bindingBytesMax / slotBytes)
    if (slotsMax === 0) {
      throw new GpuError(
        'limit',
        `Cannot place an expert: ${slotBytes} bytes must lie together, one binding holds ${bindingBytesMax}`,
      )
    }
    const last = banks.at(-1)
    const free = last?.format === format ? slotsMax - last.slotCount : 0
    if (free < expertCount && (free === 0 || expertCount <= slotsMax)) banks.push({ format, slotCount: 0 })
    return Array.from({ length: expertCount }, () => {
      let bank = banks.at(-1)
      if (bank === undefined || bank.slotCount === slotsMax) {
        bank = { format, slotCount: 0 }
        banks.push(bank)
      }
      bank.slotCount += 1
      return { bank: banks.length - 1, slot: bank.slotCount - 1 }
    })
  })
  return { banks, places }
}
