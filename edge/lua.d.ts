/** A `.lua` file in the bundle is its text (rule in wrangler.toml). */
declare module '*.lua' {
  const text: string
  export { text as default }
}
