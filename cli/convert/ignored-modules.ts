/**
 * `ignore` of a quantization_config, completed: every Linear that is stored plain must be in it, whoever reads.
 *
 * Readers such as vLLM's refuse a Linear that is in no group's targets and not ignored either; and a target's pattern can
 * reach modules that were left as they are, such as the extra layers of multi-token prediction. It knows no other file.
 */
import type { TensorInfo } from '../../gpu-worker/model/safetensors.ts'

/** `copied` are the tensors that the result has as the source has them. Returns a config with a longer `ignore`. */
export function ignoreUnquantized(
  config: Readonly<Record<string, unknown>>,
  copied: readonly TensorInfo[],
  layerCount: number,
): Record<string, unknown> {
  const given = Array.isArray(config['ignore']) ? config['ignore'].filter((entry) => typeof entry === 'string') : []
  const ignore = new Set(given)
  for (const { name, shape } of copied) {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1]
    if (layer !== undefined && Number(layer) >= layerCount) {
      ignore.add(String.raw`re:.*\.layers\.${layer}\..*`)
      continue
    }
    const module = /^(.+_proj|.+\.gate|lm_head)\.weight$/.exec(name)?.[1]
    if (module !== undefined && shape.length > 1 && !given.some((entry) => matches(entry, module))) ignore.add(module)
  }
  return { ...config, ignore: [...ignore] }
}

/** As compressed-tensors reads an entry: a name, or `re:` and a pattern from the name's start. */
function matches(entry: string, module: string): boolean {
  return entry.startsWith('re:') ? new RegExp(`^(?:${entry.slice(3)})`).test(module) : entry === module
}
