/** For `node --import`: whoever imports vitest gets the stand-in. */
import { registerHooks } from 'node:module'

const standIn = new URL('vitest-stand-in.ts', import.meta.url).href

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'vitest' ? { url: standIn, shortCircuit: true } : next(specifier, context),
})
