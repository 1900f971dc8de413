/**
 * Takes a JSON request body in: the right media type, at most so many bytes, within a deadline.
 *
 * Bytes are counted as they come, whatever a header claims. It knows nothing of what the body holds.
 */
import { AppError } from '../../contract/errors.ts'
import { bodyBytesMax } from '../../contract/limits.ts'
import { parseJsonBody, type JsonObject } from '../json-body.ts'

/** A body that has not arrived by then comes from a client that is stuck, or means harm. */
export const bodyDeadlineMs = 30_000
/**
 * Of a body that is too large this much is still read and dropped: a client that is cut off while it sends sees a broken
 * connection, not the answer that says why.
 */
const discardBytesMax = 16 * bodyBytesMax

/** @throws AppError 400, 408, 413 or 415. */
export async function readJsonBody(request: Request): Promise<JsonObject> {
  requireJson(request.headers)
  return parseJsonBody(request.body === null ? new Uint8Array() : await readBytes(request.body))
}

function requireJson(headers: Headers): void {
  const [mediaType = '', ...parameters] = (headers.get('content-type') ?? '').toLowerCase().split(';')
  const isUtf8 = parameters.every((parameter) => {
    const [name, value = ''] = parameter.trim().split('=')
    return name !== 'charset' || /^"?utf-?8"?$/.test(value)
  })
  if (mediaType.trim() !== 'application/json' || !isUtf8) {
    throw new AppError('unsupported_media_type', 'Expected content-type: application/json, in UTF-8.')
  }
  const encoding = headers.get('content-encoding')
  if (encoding !== null && encoding !== 'identity') {
    throw new AppError('unsupported_media_type', 'Expected a body without content-encoding.')
  }
}

async function readBytes(body: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = body.getReader()
  let timer: ReturnType<typeof setTimeout> | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new AppError('request_timeout', `The body did not arrive within ${bodyDeadlineMs} ms.`))
    }, bodyDeadlineMs)
  })
  const chunks: Uint8Array[] = []
  let byteCount = 0
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), deadline])
      if (done && byteCount > bodyBytesMax) throw tooLarge()
      if (done) return concatenate(chunks, byteCount)
      byteCount += value.length
      if (byteCount > discardBytesMax) throw tooLarge()
      if (byteCount <= bodyBytesMax) chunks.push(value)
      else chunks.length = 0
    }
  } catch (cause) {
    // Unread bytes are dropped with the connection.
    reader.cancel().catch(() => undefined)
    throw cause instanceof AppError ? cause : brokenOff(cause)
  } finally {
    clearTimeout(timer)
  }
}

function concatenate(chunks: readonly Uint8Array[], byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}

/** The client left, or framed its body wrongly: either way the fault is on its side. */
function brokenOff(cause: unknown): AppError {
  return new AppError('invalid_json', 'The request body broke off before its end.', { cause })
}

function tooLarge(): AppError {
  return new AppError('request_too_large', `The request body is larger than ${bodyBytesMax} bytes.`)
}
