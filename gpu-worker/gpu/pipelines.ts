/**
 * Compute pipelines, each built once for its key: source, override values and binding access.
 *
 * Knows nothing of what the shaders compute.
 */
import type { Gpu } from './device.ts'
import type { Access, Program } from './program.ts'

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

  get(program: Program): Promise<Pipeline> {
    const key = JSON.stringify([program.name, program.source, program.constants, program.access])
    let pipeline = this.#pipelines.get(key)
    if (pipeline === undefined) {
      pipeline = this.#build(program)
      this.#pipelines.set(key, pipeline)
    }
    return pipeline
  }

  async #build(program: Program): Promise<Pipeline> {
    const { device } = this.#gpu
    const layout = this.#layout(program.access)
    const pipeline = await this.#gpu.wait(
      device.createComputePipelineAsync({
        label: program.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: this.#module(program), entryPoint: 'main', constants: { ...program.constants } },
      }),
      `compiling ${program.name}`,
    )
    return { pipeline, layout }
  }

  #module(program: Program): GPUShaderModule {
    let module = this.#modules.get(program.source)
    if (module === undefined) {
      module = this.#gpu.device.createShaderModule({ label: program.name, code: program.source })
      this.#modules.set(program.source, module)
    }
    return module
  }

  #layout(access: readonly Access[]): GPUBindGroupLayout {
    const key = access.join()
    let layout = this.#layouts.get(key)
    if (layout === undefined) {
      const entries = access.map((kind, binding): GPUBindGroupLayoutEntry => {
        const type = kind === 'read' ? 'read-only-storage' : 'storage'
        return { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }
      })
      layout = this.#gpu.device.createBindGroupLayout({ label: key, entries })
      this.#layouts.set(key, layout)
    }
    return layout
  }
}
