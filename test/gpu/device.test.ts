/** The device: silent failures of Dawn become errors that every later wait and check throws. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import { describe, expect, it } from 'vitest'
import { type Gpu, openDevice } from '../../gpu-worker/gpu/device.ts'
import { GpuError } from '../../gpu-worker/gpu/gpu-error.ts'
import { unknownToggles } from '../../gpu-worker/gpu/toggles.ts'
import { toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'

describe('openDevice()', () => {
  it('takes every limit of the adapter and says what it opened', async () => {
    const gpu = await openDevice({ toggles: ['allow_unsafe_apis'] })
    expect(gpu.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(128 * 1024 * 1024)
    expect(gpu.adapter.description).not.toBe('')
    expect(gpu.adapter.toggles).toEqual(['allow_unsafe_apis'])
    gpu.close()
  })

  it('fails with a typed error and a way out when no adapter fits', async () => {
    const opening = openDevice({ adapterName: 'no such adapter' })
    await expect(opening).rejects.toThrow(GpuError)
    await expect(opening).rejects.toMatchObject({ kind: 'no-adapter', message: expect.stringContaining('driver') })
  })
})

describe('toggles', () => {
  it.each(toggleProfiles.fast)('%s is one of Dawn', async (name) => {
    expect(await unknownToggles([name])).toEqual([])
  })

  it.each([
    'skip_validations',
    'kip_validation',
    'skip',
    'SKIP_VALIDATION',
    '',
    'allow_unsafe_apis ',
    'no_such_toggle',
  ])("'%s' is refused by name, for Dawn would skip it in silence", async (name) => {
    const opening = openDevice({ toggles: ['allow_unsafe_apis', name] })
    await expect(opening).rejects.toMatchObject({ kind: 'toggle', message: `Dawn knows no toggle ${name}` })
  })

  it('to switch off are refused alike', async () => {
    const opening = openDevice({ withoutToggles: ['no_such_toggle'] })
    await expect(opening).rejects.toMatchObject({ kind: 'toggle', message: 'Dawn knows no toggle no_such_toggle' })
  })
})

describe('a Gpu', () => {
  it('says that memory ran out, where the driver says so', async () => {
    const gpu = await openDevice()
    // A software driver runs out after the machine does: the event is one that an H100 sent, made by hand.
    const error = new GPUOutOfMemoryError(
      'no room for 4 GiB\n - While calling [Device]\n    at Alloc (/dawn/x.cpp:1)\n',
    )
    gpu.device.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error }))
    await expect(gpu.idle('a test')).rejects.toMatchObject({
      kind: 'memory',
      message: expect.stringMatching(/no room/),
    })
    gpu.close()
  })

  it('remembers an uncaptured error: the wait under way, later waits and checks all throw it', async () => {
    const gpu = await openDevice()
    const { device } = gpu
    expect(() => gpu.check()).not.toThrow()
    const small = device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST })
    device.queue.writeBuffer(small, 16, new Uint32Array(4))
    await expect(gpu.idle('a test')).rejects.toMatchObject({ kind: 'uncaptured' })
    expect(() => gpu.check()).toThrow(GpuError)
    await expect(gpu.wait(Promise.resolve(), 'a test')).rejects.toMatchObject({ kind: 'uncaptured' })
    gpu.close()
  })

  it('gives up on an answer that never comes, and is broken from then on', async () => {
    const gpu = await openDevice({ deadlineMs: 20 })
    await expect(gpu.wait(new Promise(() => {}), 'an answer')).rejects.toMatchObject({ kind: 'deadline' })
    expect(() => gpu.check()).toThrow(/an answer/)
    gpu.close()
  })

  it('ends the wait under way when the device is lost in the middle of it', async () => {
    const gpu = await openDevice()
    const waiting = gpu.wait(new Promise(() => {}), 'a step')
    gpu.device.destroy()
    await expect(waiting).rejects.toMatchObject({ kind: 'device-lost' })
    expect(() => gpu.check()).toThrow(/lost/)
    gpu.close()
  })

  it('keeps nothing of a wait that ended', async () => {
    const gpu = await openDevice()
    const waits = 5000
    const wait = async (): Promise<void> => {
      for (let i = 0; i < waits; i++) await gpu.wait(Promise.resolve(), 'an answer')
      collectGarbage()
    }
    await wait()
    const before = process.memoryUsage().heapUsed
    await wait()
    // A race against one promise for the device's whole life kept some 500 bytes of each.
    expect((process.memoryUsage().heapUsed - before) / waits).toBeLessThan(100)
    gpu.close()
  })

  it('is let go once closed, with all that refers to it', async () => {
    const closed: WeakRef<Gpu>[] = []
    for (let i = 0; i < 4; i++) closed.push(await openAndClose())
    const aliveCount = (): number => {
      collectGarbage()
      return closed.filter((gpu) => gpu.deref() !== undefined).length
    }
    // The last one may still stand in a register of whoever opened it.
    await expect.poll(aliveCount, { timeout: 10_000 }).toBeLessThanOrEqual(1)
  })

  it('throws once closed', async () => {
    const gpu = await openDevice()
    gpu.close()
    await expect(gpu.idle('a test')).rejects.toMatchObject({ kind: 'device-lost' })
    // An answer that fails as well is not left to end the process.
    const failing = new Promise<void>((_, reject) => void setImmediate(reject, new Error('aborted')))
    await expect(gpu.wait(failing, 'a test')).rejects.toMatchObject({ kind: 'device-lost' })
    await nextTurn()
  })
})

v8.setFlagsFromString('--expose-gc')
const collectGarbage: () => void = vm.runInNewContext('gc')

async function openAndClose(): Promise<WeakRef<Gpu>> {
  const gpu = await openDevice()
  gpu.close()
  return new WeakRef(gpu)
}
