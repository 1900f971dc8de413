/**
 * Compute pipelines, each built once for its key: source, override values and binding access.
 *
 * Knows nothing of what the shaders compute.
 */
import type { Gpu } from './device.ts'
import { GpuError } from './gpu-error.ts'
import type { Access } from './program.ts'

/** What makes two pipelines the same. */
export interface PipelineKey {
  readonly source: string
  readonly access: readonly Access[]
  readonly hasParams: boolean
  readonly overrides: Readonly<Record<string, number>>
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
}

export class Pipelines {
  readonly #gpu: Gpu
  readonly #layouts = new Map<string, GPUBindGroupLayout>()
  readonly #modules = new Map<string, GPUShaderModule>()
  readonly #pipelines = new Map<string, Promise<Pipeline>>()

  constructor(gpu: Gpu) {
    this.#gpu = gpu
  }

  get count(): number {
    return this.#pipelines.size
  }

  /** `name` labels it in error messages. Throws GpuError. */
  get(name: string, key: PipelineKey): Promise<Pipeline> {
    const text = JSON.stringify([key.source, key.access, key.hasParams, key.overrides])
    let pipeline = this.#pipelines.get(text)
    if (pipeline === undefined) {
      pipeline = this.#build(name, key)
      this.#pipelines.set(text, pipeline)
    }
    return pipeline
  }

  async #build(name: string, key: PipelineKey): Promise<Pipeline> {
    const { device } = this.#gpu
    const layout = this.#layout(key)
    const compiling = device.createComputePipelineAsync({
      label: name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: this.#module(name, key.source), entryPoint: 'main', constants: { ...key.overrides } },
    })
    try {
      return { pipeline: await this.#gpu.wait(compiling, `compiling ${name}`), layout }
    } catch (cause) {
      if (cause instanceof GpuError) throw cause
      throw new GpuError('pipeline', `Cannot build the shader ${name} on this adapter`, { cause })
    }
  }

  #module(label: string, code: string): GPUShaderModule {
    let module = this.#modules.get(code)
    if (module === undefined) {
      module = this.#gpu.device.createShaderModule({ label, code })
      this.#modules.set(code, module)
    }
    return module
  }

  #layout({ access, hasParams }: PipelineKey): GPUBindGroupLayout {
    const types = access.map((kind): GPUBufferBindingType => (kind === 'read' ? 'read-only-storage' : 'storage'))
    if (hasParams) types.push('uniform')
    const label = types.join()
    let layout = this.#layouts.get(label)
    if (layout === undefined) {
      const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }))
      layout = this.#gpu.device.createBindGroupLayout({ label, entries })
      this.#layouts.set(label, layout)
    }
    return layout
  }
}
