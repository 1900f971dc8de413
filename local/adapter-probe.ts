/**
 * Asks Dawn for a WebGPU adapter and prints what it got as one line of JSON, `null` when there is none. A process of its
 * own because a broken Vulkan driver can take the process down. It does not know which adapter would be good enough.
 */
import { create } from 'webgpu'

const gpu = create([])
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
const info = adapter?.info
const description = [info?.description, info?.device].find((text) => text !== undefined && text !== '')
console.log(JSON.stringify(info === undefined ? null : (description ?? info.vendor)))
// Without the exit the process waits for Dawn's threads; `gpu` stays referenced until here.
process.exit(gpu === undefined ? 1 : 0)
