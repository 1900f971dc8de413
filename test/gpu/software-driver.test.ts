/** tuneSoftwareDriver: no pool of threads where cores are few, and never against an operator's word. */
import { expect, it } from 'vitest'
import { tuneSoftwareDriver } from '../../gpu-worker/gpu/software-driver.ts'

const set = (environment: NodeJS.ProcessEnv, cores: number): NodeJS.ProcessEnv => {
  tuneSoftwareDriver(environment, cores)
  return environment
}

it('turns the pool off on one core and on two, and leaves it on more', () => {
  expect(set({}, 1)).toEqual({ LP_NUM_THREADS: '0' })
  expect(set({}, 2)).toEqual({ LP_NUM_THREADS: '0' })
  expect(set({}, 3)).toEqual({})
})

it('leaves what an operator set', () => {
  expect(set({ LP_NUM_THREADS: '2' }, 2)).toEqual({ LP_NUM_THREADS: '2' })
})
