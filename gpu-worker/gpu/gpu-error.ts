/**
 * What can go wrong on the GPU side, as one typed operational failure.
 *
 * Knows nothing of jobs or users. Except for `no-adapter` and `toggle`, a GpuError means the device must not be used again.
 */
export type GpuErrorKind =
  /** No adapter that Dawn accepts: nothing was opened. */
  | 'no-adapter'
  /** A Dawn toggle that this Dawn does not have: nothing was opened. */
  | 'toggle'
  | 'device-lost'
  /** This adapter cannot build one of our shaders. */
  | 'pipeline'
  /** Dawn reported a validation or internal error that no call caught. */
  | 'uncaptured'
  /** The GPU had no room for what was asked. */
  | 'memory'
  | 'deadline'
  /** The model, or memory for it, does not fit this adapter's limits or the budget. */
  | 'limit'

export class GpuError extends Error {
  readonly kind: GpuErrorKind

  constructor(kind: GpuErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'GpuError'
    this.kind = kind
  }
}
