/**
 * `bench adapter`: what this machine's adapter offers as Axle opens it, under each set of toggles. It judges nothing.
 *
 * WebGPU tells neither memory nor which of the toggles asked for do anything here.
 */
import { create } from 'webgpu'
import { openDevice, type Gpu } from '../../gpu-worker/gpu/device.ts'
import { toggleProfileNames, toggleProfiles } from '../../gpu-worker/toggle-profiles.ts'
import { machineName, type Figure, type Report } from '../report.ts'

export async function adapter(): Promise<Report> {
  const notes: string[] = []
  let figures: Figure[] = []
  let description = ''
  for (const name of toggleProfileNames) {
    const toggles = toggleProfiles[name]
    const gpu = await openDevice({ toggles })
    const matrices = await matricesWith(toggles)
    notes.push(`Toggles ${name}: ${toggles.join(', ') || 'none'}. ${offered(gpu, matrices)}`)
    description = gpu.adapter.description
    if (name === 'safe') figures = limitFigures(gpu)
    gpu.close()
  }
  const date = new Date().toISOString().slice(0, 10)
  return { bench: 'adapter', machine: machineName(), adapter: description, date, notes, figures }
}

/** WebGPU's types know no matrices yet. */
interface MatrixInfo {
  readonly subgroupMatrixConfigs?: readonly {
    readonly componentType: string
    readonly resultComponentType: string
    readonly M: number
    readonly N: number
    readonly K: number
  }[]
}

/** Dawn keeps a raw pointer to them. */
const instances: GPU[] = []

/** Only an adapter tells them, not the device that was opened on it. */
async function matricesWith(toggles: readonly string[]): Promise<string> {
  const instance = create(toggles.length === 0 ? [] : [`enable-dawn-features=${toggles.join(',')}`])
  instances.push(instance)
  const found = await instance.requestAdapter({ powerPreference: 'high-performance' })
  const { subgroupMatrixConfigs = [] } = (found?.info ?? {}) as MatrixInfo
  const names = subgroupMatrixConfigs.map(
    ({ M, N, K, componentType, resultComponentType }) => `${M}×${N}×${K} ${componentType} → ${resultComponentType}`,
  )
  return names.join(', ') || 'none'
}

function offered(
  { device, adapter: { vendor, architecture, device: name, backend }, processor }: Gpu,
  matrices: string,
): string {
  const { subgroupMinSize = 0, subgroupMaxSize = 0 } = device.adapterInfo
  const facts = [
    `${[vendor, architecture, name, backend].filter((part) => part !== '').join(' ')}, kernels for ${processor}s`,
    `subgroups of ${subgroupMinSize} to ${subgroupMaxSize}`,
    `features in use: ${[...device.features].toSorted().join(', ')}`,
    `subgroup matrices: ${matrices}`,
  ]
  return `${facts.join('; ')}.`
}

/** Limits of what a compute shader has nothing to do with. */
const NOT_OURS = /Texture|Vertex|Fragment|Color|Sampler|InterStage/

function limitFigures({ limits }: Gpu): Figure[] {
  const figures: Figure[] = []
  for (const name in limits) {
    // `GPUSupportedLimits` has no index signature; its enumerable names are exactly the limits' names.
    const value = (limits as unknown as Record<string, number | undefined>)[name]
    if (typeof value === 'number' && !NOT_OURS.test(name)) figures.push({ name, value, unit: '' })
  }
  return figures
}
