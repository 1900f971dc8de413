/**
 * `axle generate` as its user meets it: a process of its own, what it prints where, and how it ends.
 *
 * The truth is transformers' greedy answers, which ship with the model.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { parseRequest } from '../../cli/generate/request.ts'

const root = join(import.meta.dirname, '../..')
const tiny = join(root, 'models/axk1-tiny')

interface FrozenAnswer {
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  readonly tools: unknown
  readonly enable_thinking: boolean
  readonly completion: string
}
const frozen = JSON.parse(readFileSync(join(tiny, 'chats.json'), 'utf8')) as FrozenAnswer[] // our own test data
const questions = frozen.filter(({ messages, tools }) => messages.length === 1 && tools === null)

function start(args: readonly string[]) {
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), 'generate', ...args])
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[exitCode], stdout, stderr]) => ({ exitCode: exitCode as unknown, stdout, stderr }),
  )
  return { child, ended }
}

async function generate(args: readonly string[], input = '') {
  const { child, ended } = start(args)
  child.stdin.end(input)
  return ended
}

/** As a pipe shows a completion of transformers. */
function shown({ completion }: FrozenAnswer): string {
  return completion.replace(/^\n([^]*?)\n<\/think>\n\n/, '<think>\n$1\n</think>\n\n').replace('<|im_end|>', '\n')
}

describe('axle generate', { timeout: 120_000 }, () => {
  it.each(questions.slice(0, 5))("streams transformers' greedy answer, thinking or not: %#", async (question) => {
    const [message] = question.messages
    const think = question.enable_thinking ? ['--think'] : []
    const finished = await generate([tiny, message?.content ?? '', '--temperature', '0', ...think])
    expect(finished).toMatchObject({ exitCode: 0, stdout: shown(question) })
    expect(finished.stderr).toMatch(/^adapter: .+/m)
    expect(finished.stderr).toMatch(/^\d+ prompt tokens; \d+ tokens in .+tokens\/s\); ended by stop; seed \d+$/m)
  })

  it('gives the same text for the same seed, from an argument or standard input, and another for another', async () => {
    const hot = ['--temperature', '2', '--max-tokens', '24']
    const [first, again, other] = [
      await generate([tiny, 'Tell me a story.', '--seed=-5', ...hot]),
      await generate(['--model', tiny, '--seed=-5', ...hot], 'Tell me a story.\n'),
      await generate([tiny, 'Tell me a story.', '--seed', '6', ...hot]),
    ]
    expect(first).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('24 tokens') })
    expect(again.stdout).toBe(first.stdout)
    expect(other.stdout).not.toBe(first.stdout)
    expect(first.stderr).toMatch(/ended by length; seed -5$/m)
  })

  it('ends an answer cleanly on Ctrl-C, with what there is', async () => {
    const question = questions.find(({ enable_thinking: isThinking }) => isThinking)
    const { child, ended } = start([tiny, question?.messages[0]?.content ?? '', '--think', '--temperature', '0'])
    child.stdin.end()
    await once(child.stdout, 'data')
    // As npm and the terminal both send it.
    child.kill('SIGINT')
    child.kill('SIGINT')
    const { exitCode, stdout, stderr } = await ended
    expect(exitCode).toBe(130)
    expect(stderr).toMatch(/ended by interrupted/)
    const said = stdout.replace('\n</think>\n\n', '').trimEnd()
    expect(question && shown(question).startsWith(said)).toBe(true)
  })

  it('refuses a bad argument, folder or prompt in one line on standard error', async () => {
    const cases: [args: string[], message: RegExp][] = [
      [[], /^DIR is missing[^]*--max-tokens N/],
      [[join(root, 'none'), 'x'], /^Cannot load config\.json: there is no such file.*\n$/],
      [[tiny, 'word '.repeat(3000)], /^This model's maximum context length is 2048 tokens.*\n$/],
    ]
    for (const [args, stderr] of cases) {
      expect(await generate(args)).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringMatching(stderr) })
    }
  })

  it('tells what it takes', async () => {
    expect(await generate(['--help'])).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/--seed N/) })
  })
})

describe('parseRequest', () => {
  it('takes the folder first or as an option, and draws a seed where none is given', () => {
    const plain = parseRequest(['dir', 'hi'])
    expect(plain).toMatchObject({ modelDir: 'dir', prompt: 'hi', think: false, maxTokens: null, profile: 'exact' })
    expect(plain).toMatchObject({ temperature: null, topP: null, topK: null, minP: null, system: null, toggles: [] })
    expect(plain?.seed).not.toBe(parseRequest(['dir', 'hi'])?.seed)
    expect(parseRequest(['--model', 'dir'])).toMatchObject({ modelDir: 'dir', prompt: null })
    expect(parseRequest(['dir', '', '--expert-slots', '50%'])).toMatchObject({ expertSlots: '50%' })
    expect(() => parseRequest(['dir', '', '--expert-slots', '0'])).toThrow(/--expert-slots: expected/)
    expect(parseRequest(['dir', '', '--kv-bytes', '1GiB'])).toMatchObject({ prompt: '', kvBytesMax: 2 ** 30 })
    expect(parseRequest(['dir', '--help'])).toBeNull()
  })

  it.each([
    [['dir', 'two', 'prompts'], /one PROMPT, got 2: put it in quotes/],
    [['dir', '--temperature', 'hot'], /--temperature: expected 0 to 100, got hot/],
    [['dir', '--temperature', ''], /--temperature: expected 0 to 100/],
    [['dir', '--top-p', '0'], /--top-p: expected above 0, at most 1, got 0/],
    [['dir', '--top-k', '1.5'], /--top-k: expected a whole number/],
    [['dir', '--min-p', '2'], /--min-p: expected 0 to 1/],
    [['dir', '--max-tokens', '0'], /--max-tokens: expected a whole number above 0/],
    [['dir', '--seed', '9223372036854775808'], /--seed: expected an integer of 64 bits/],
    [['dir', '--seed', 'x'], /--seed: expected an integer of 64 bits/],
    [['dir', '--profile', 'fast'], /--profile: expected exact or kv16 or matrix, got fast/],
    [['dir', '--kv-bytes', 'much'], /--kv-bytes: expected bytes as/],
    [['dir', '--thinking'], /Unknown option '--thinking'/],
  ])('refuses %j by name', (args, message) => {
    expect(() => parseRequest(args)).toThrow(message)
  })
})
