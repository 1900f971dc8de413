/** An owner's own errors stay its own: the loop goes on, and so does everyone else. */
import { describe, expect, it } from 'vitest'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { EngineLoop, type SequenceOwner } from '../../gpu-worker/engine-loop.ts'
import { request } from '../engine/engine-setup.ts'
import { FakeRunner } from '../fake-runner.ts'

describe('EngineLoop', () => {
  it.each(['onToken', 'steer'] as const)(
    'an owner that throws in %s is told so, and loses its sequence alone',
    async (place) => {
      const loop = new EngineLoop(
        new Engine(new FakeRunner()),
        () => 0,
        () => undefined,
      )
      const stopped = new AbortController()
      const told: string[] = []
      const owner = (name: string, isLast: boolean): SequenceOwner => ({
        onStart: () => told.push(`${name} starts`),
        onToken: () => (name === 'faulty' && place === 'onToken' ? fail() : undefined),
        onEnd: (reason) => {
          told.push(`${name}: ${reason}`)
          if (isLast) stopped.abort()
        },
        onFault: (error) => told.push(`${name}: ${String(error)}`),
        congestion: () => null,
      })
      const steer = () => (place === 'steer' ? fail() : {})
      loop.submit(request('faulty', { steer, answerTokensMax: 20 }), owner('faulty', false))
      loop.submit(request('healthy', { answerTokensMax: 8 }), owner('healthy', true))
      await loop.run(stopped.signal)
      const fault = ['faulty starts', 'faulty: Error: of its own']
      const own = told.filter((line) => line.startsWith('faulty'))
      expect(own).toEqual([...(place === 'steer' ? fault.toReversed() : fault), 'faulty: cancelled'])
      expect(told.at(-1)).toBe('healthy: length')
    },
  )
})

function fail(): never {
  throw new Error('of its own')
}
