/** An owner's own errors stay its own: the loop goes on, and so does everyone else. */
import { describe, expect, it } from 'vitest'
import { Engine } from '../../gpu-worker/engine/engine.ts'
import { EngineLoop, type SequenceOwner } from '../../gpu-worker/engine-loop.ts'
import { request } from '../engine/engine-setup.ts'
import { FakeRunner } from '../fake-runner.ts'

describe('EngineLoop', () => {
  it.each([
    ['onToken', 1],
    ['onToken', 2],
    ['steer', 1],
    ['steer', 2],
    ['onStart', 1],
  ] as const)(
    'an owner that throws in %s, with %i steps in flight, is told so, hears its end alone, and nobody else is hurt',
    async (place, stepsInFlightMax) => {
      const loop = new EngineLoop(
        new Engine(new FakeRunner({ limits: { stepsInFlightMax } })),
        () => 0,
        () => undefined,
      )
      const stopped = new AbortController()
      const told: string[] = []
      const owner = (name: string, isLast: boolean): SequenceOwner => ({
        onStart: () => {
          told.push(`${name} starts`)
          if (name === 'faulty' && place === 'onStart') fail()
        },
        onToken: () => {
          if (name === 'faulty' && place === 'onToken') fail()
          if (name === 'faulty') told.push('faulty has a token')
        },
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
      expect(own).toEqual([...(place === 'steer' ? fault.slice(1) : fault), 'faulty: cancelled'])
      expect(told.at(-1)).toBe('healthy: length')
    },
  )
})

function fail(): never {
  throw new Error('of its own')
}
