/**
 * TCP ports on the loopback interface: is one free, give me a free one. Nothing is reserved: whoever asked must be
 * ready for the port to be taken a moment later.
 */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'

export const loopback = '127.0.0.1'

export async function isPortFree(port: number): Promise<boolean> {
  return (await listenBriefly(port)) !== undefined
}

export async function freePort(): Promise<number> {
  const port = await listenBriefly(0)
  assert(port !== undefined, 'the system has a free loopback port')
  return port
}

/** @returns the port it could listen on, undefined when it was taken or not allowed. */
function listenBriefly(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ port, host: loopback, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? address?.port : undefined))
    })
  })
}
