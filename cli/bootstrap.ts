/**
 * `axle bootstrap`: the first admin key of a deployment, made once from the secret it was deployed with.
 *
 * The secret comes from stdin or the environment, never from the command line, which other users of a machine can read.
 */
import { AdminApi, ApiRefusal, apiUrl } from './admin-api.ts'
import { newKeyAnswer } from './admin/answers.ts'
import { reportFailure } from './report-failure.ts'

const help = `npm run --silent axle -- bootstrap URL < file-with-the-secret

Makes the first admin key of the deployment at URL and prints it alone on stdout. The secret, the deployment's
AXLE_BOOTSTRAP_SECRET, is read from stdin, or from AXLE_BOOTSTRAP_SECRET here. It works once.`

/** Prints what went wrong on stderr and sets exit code 1. */
export async function bootstrap(args: string[]): Promise<void> {
  try {
    const [url, ...others] = args
    if (url !== undefined && ['--help', '-h'].includes(url)) {
      console.log(help)
      return
    }
    if (url === undefined) throw new TypeError(`Expected the URL of the deployment\n\n${help}`)
    if (others.length > 0) throw new TypeError('Expected one URL; the secret is read from stdin')
    const api = new AdminApi({ url: apiUrl(url), key: await readSecret() })
    const made = await api.post('/v1/organization/bootstrap', newKeyAnswer, {}).catch(explain)
    console.log(made.value)
    console.error(
      `Admin key ${made.id}. Keep the line above: it is never shown again, and the secret has done its work.`,
    )
  } catch (error) {
    reportFailure(error)
  }
}

/** To whom has not its secret, a deployment has no such route. */
function explain(error: unknown): never {
  if (!(error instanceof ApiRefusal && error.status === 404)) throw error
  throw new Error('The deployment has another AXLE_BOOTSTRAP_SECRET, or none. (not_found)', { cause: error })
}

async function readSecret(): Promise<string> {
  const given = process.env['AXLE_BOOTSTRAP_SECRET']?.trim() ?? ''
  if (given !== '') return given
  if (process.stdin.isTTY) throw new Error('Expected the bootstrap secret on stdin, or in AXLE_BOOTSTRAP_SECRET')
  let text = ''
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString('utf8')
  if (text.trim() === '') throw new Error('There is no secret on stdin')
  return text.trim()
}
