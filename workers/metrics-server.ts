/**
 * Serves `/metrics` to a scraper and `/healthz` to a supervisor, and nothing else.
 *
 * It does not know what is measured. It has no key: it listens where only the operator reaches it.
 */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expositionType } from './exposition.ts'

export interface MetricsAddress {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
}

/** Scrapers, with room. */
const connectionsMax = 64
const requestDeadlineMs = 5_000

export class MetricsServer {
  readonly url: string
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    const { address, port, family } = server.address() as AddressInfo // of a TCP server that listens
    this.url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`
  }

  /** @throws the system's error when the address cannot be had. */
  static async start({ host, port }: MetricsAddress, render: () => Promise<string>): Promise<MetricsServer> {
    const server = createServer({ requestTimeout: requestDeadlineMs }, (request, response) => {
      const path = request.url?.split('?', 1)[0]
      if (path !== '/metrics' && path !== '/healthz') return answer(response, 404, 'text/plain', 'Not found.\n')
      if (request.method !== 'GET' && request.method !== 'HEAD')
        return answer(response.setHeader('allow', 'GET, HEAD'), 405, 'text/plain', 'Only GET.\n')
      if (path === '/healthz') return answer(response, 200, 'text/plain', 'ok\n')
      render().then(
        (text) => answer(response, 200, expositionType, text),
        () => answer(response, 500, 'text/plain', 'The figures cannot be shown.\n'),
      )
    })
    server.maxConnections = connectionsMax
    server.listen(port, host)
    await once(server, 'listening')
    return new MetricsServer(server)
  }

  /** Ends open connections too: a scraper keeps its own. */
  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body)
}
