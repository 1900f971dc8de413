/**
 * What can go wrong on the GPU side, as one typed operational failure.
 *
 * Knows nothing of jobs or users. Except for `no-adapter`, a GpuError means the device must not be used again.
 */
export type GpuErrorKind =
  /** No adapter that Dawn accepts: nothing was opened. */
  | 'no-adapter'
  | 'device-lost'
  /** This adapter cannot build one of our shaders. */
  | 'pipeline'
  /** Dawn reported a validation, memory or internal error that no call caught. */
  | 'uncaptured'
  | 'deadline'
  /** The model or a request for memory does not fit this adapter's limits. */
  | 'limit'

export class GpuError extends Error {
  readonly kind: GpuErrorKind

  constructor(kind: GpuErrorKind, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'GpuError'
    this.kind = kind
  }
}
