/**
 * `npm run axle -- <command>`: the command line for people who work on Axle. It knows the commands' names only; each
 * lives in a file of its own and is loaded when asked for.
 */

interface Command {
  readonly summary: string
  load(): Promise<(args: string[]) => Promise<void>>
}

const commands: Readonly<Record<string, Command>> = {
  inspect: {
    summary: 'what a checkpoint is, what it weighs, and everything that keeps it from being loaded',
    load: async () => (await import('./inspect.ts')).inspect,
  },
  logits: {
    summary: 'logits of given token ids, through the serving engine, as safetensors',
    load: async () => (await import('./logits.ts')).logits,
  },
  generate: {
    summary: 'an answer to a message, streamed in the terminal, as the API gives it for the same seed',
    load: async () => (await import('./generate.ts')).generate,
  },
  convert: {
    summary: 'quantise a checkpoint to int4 or int8, shard by shard, and tell what it cost',
    load: async () => (await import('./convert.ts')).convert,
  },
  plan: {
    summary: 'what a checkpoint, or A.X K1 by name, takes of which GPUs, and how fast they can be',
    load: async () => (await import('./plan.ts')).plan,
  },
  verify: {
    summary: "a checkpoint against a reference's answers: the table of errors",
    load: async () => (await import('./verify.ts')).verify,
  },
  tenant: {
    summary: 'tenants of a deployment: made, limited, budgeted, archived',
    load: async () => (await import('./tenant.ts')).tenant,
  },
  key: {
    summary: "a tenant's API keys: made, restricted, rotated, revoked",
    load: async () => (await import('./key.ts')).key,
  },
  usage: {
    summary: 'what was used and what it cost; reconcile: bills against token logs',
    load: async () => (await import('./usage.ts')).usage,
  },
  price: {
    summary: "what a model's tokens cost, and from when on",
    load: async () => (await import('./price.ts')).price,
  },
  audit: {
    summary: 'who changed what, when, from where',
    load: async () => (await import('./audit.ts')).audit,
  },
  'admin-key': {
    summary: 'keys of the Admin API: made, listed, revoked',
    load: async () => (await import('./admin-key.ts')).adminKey,
  },
  bootstrap: {
    summary: 'the first admin key of a deployment, from its secret',
    load: async () => (await import('./bootstrap.ts')).bootstrap,
  },
}

const [name, ...args] = process.argv.slice(2)
if (name === undefined || ['--help', '-h', 'help'].includes(name)) {
  console.log(help())
} else {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) {
    console.error(`No such command: ${name}\n\n${help()}`)
    process.exitCode = 2
  } else {
    await (
      await command.load()
    )(args)
  }
}

function help(): string {
  const lines = Object.entries(commands).map(([command, { summary }]) => `  ${command.padEnd(10)} ${summary}`)
  return `npm run --silent axle -- <command> [options]\n\nCommands:\n${lines.join('\n')}\n\n<command> --help tells more.`
}
