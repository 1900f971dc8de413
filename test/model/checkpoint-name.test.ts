/** What clients call a model that nobody named. */
import { expect, it } from 'vitest'
import { checkpointName } from '../../gpu-worker/model/checkpoint-name.ts'

it.each([
  ['models/axk1-tiny', 'axk1-tiny'],
  ['/data/A.X-K1/', 'A.X-K1'],
  ['/hub/models--skt--A.X-K1/snapshots/0123456789abcdef0123456789abcdef01234567', 'skt/A.X-K1'],
  ['/hub/models--gpt2/snapshots/0123456789abcdef0123456789abcdef01234567/', 'gpt2'],
  ['/data/snapshots/nightly', 'nightly'],
  ['/hub/models--skt--A.X-K1', 'models--skt--A.X-K1'],
])('%s is called %s', (dir, name) => {
  expect(checkpointName(dir)).toBe(name)
})
