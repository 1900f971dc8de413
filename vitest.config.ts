/**
 * How the tests run: what needs little runs two files at a time, what starts whole stacks runs alone after it, so that
 * its deadlines measure the product and not its neighbours. It knows no test by name.
 */
import { defineConfig } from 'vitest/config'

const all = 'test/**/*.test.ts'
/** Each file here starts processes of the product: gateway, workers, Redis. */
const stacks = ['test/e2e/**/*.test.ts', 'test/faults/**/*.test.ts', 'test/local/start.test.ts']

export default defineConfig({
  test: {
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: 'parts', include: [all], exclude: stacks, maxWorkers: 2, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: {
          name: 'stacks',
          include: stacks,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
