/** How every command ends that could not do what it was asked: one message on stderr, exit code 1. */

export function reportFailure(error: unknown): void {
  console.error(messageOf(error))
  process.exitCode = 1
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node goes on with advice on positional arguments, which after npm's own -- misleads.
  const option = /^Unknown option '(.+?)'/.exec(error.message)?.[1]
  return option === undefined ? error.message : `Unknown option ${option}: --help lists them all`
}
