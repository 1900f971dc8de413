/** Programmer errors: what must hold by construction. A broken invariant fails the request, never passes on. */

export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation'
}

/** @throws InvariantViolation when `condition` does not hold. */
export function invariant(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new InvariantViolation(claim)
}
