/** The whole text side of axk1-tiny against what transformers rendered, tokenised and generated. */
import { readFileSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ChatTemplate, type Chat, type TemplateMessage } from '../../gpu-worker/model/chat-template.ts'
import { CheckpointError } from '../../gpu-worker/model/checkpoint-error.ts'
import { loadModelText, type ModelText } from '../../gpu-worker/model/model-text.ts'
import { readSafetensors, type SafetensorsFile } from '../../gpu-worker/model/safetensors.ts'
import { loadTokenizer, textOfPieces } from '../../gpu-worker/model/tokenizer.ts'

const dir = 'models/axk1-tiny'

interface Expected {
  readonly messages: readonly TemplateMessage[]
  readonly tools: readonly unknown[] | null
  readonly enable_thinking: boolean
  readonly prompt: string
  readonly completion: string
}

let model: ModelText
let expected: SafetensorsFile
let chats: readonly Expected[]
let root = ''
beforeAll(async () => {
  model = await loadModelText(dir, 'axk1-tiny')
  expected = await readSafetensors(join(dir, 'expected.safetensors'))
  chats = JSON.parse(await readFile(join(dir, 'chats.json'), 'utf8')) as Expected[] // our own test data
  root = await mkdtemp(join(tmpdir(), 'axle-model-text-'))
})
afterAll(async () => {
  await expected.close()
  await rm(root, { recursive: true })
})

async function ids(name: string): Promise<number[]> {
  return [...new Int32Array((await expected.read(name)).buffer)]
}

/** A folder with the text files of the model, some replaced. */
async function folderWith(files: Readonly<Record<string, string | null>>): Promise<string> {
  const folder = await mkdtemp(join(root, 'model-'))
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']) {
    await cp(join(dir, name), join(folder, name))
  }
  for (const [name, text] of Object.entries(files)) {
    await (text === null ? rm(join(folder, name)) : writeFile(join(folder, name), text))
  }
  return folder
}

/** The model's tokenizer.json with another pattern, spelled as in JSON. */
function withPattern(pattern: string): string {
  return readFileSync(join(dir, 'tokenizer.json'), 'utf8').replace(/"Regex": "[^"]*"/, () => `"Regex": "${pattern}"`)
}

function spelledBytes(tokenId: number): number[] {
  const { token, bytes = [...new TextEncoder().encode(token)] } = model.spell(tokenId)
  return bytes === null ? [] : [...bytes]
}

function chatOf({ messages, tools, enable_thinking: think }: Expected): Chat {
  return { messages, tools: tools ?? undefined, think }
}

describe.each(Array.from({ length: 12 }, (_, k) => k))("transformers' chat %i", (k) => {
  it('renders to the same prompt', async () => {
    const tokenizer = await loadTokenizer(dir)
    const source = await readFile(join(dir, 'chat_template.jinja'), 'utf8')
    const template = new ChatTemplate(source, tokenizer.controlTokens, tokenizer.namedTokens)
    const chat = chats[k]
    expect(chat && textOfPieces(template.render(chatOf(chat)))).toBe(chat?.prompt)
  })

  it('has the same prompt ids', async () => {
    const [promptLength = 0] = await ids(`prompt_length.${k}`)
    const chat = chats[k]
    expect(chat && model.promptTokens(chatOf(chat))).toEqual((await ids(`ids.${k}`)).slice(0, promptLength))
  })

  it('replays its greedy tokens into reasoning and content', async () => {
    const { completion, enable_thinking: think } = chats[k] ?? { completion: '', enable_thinking: false }
    const fold = model.answer({ think, stop: [] })
    const text = { reasoning: '', content: '' }
    for (const id of await ids(`greedy.${k}`)) {
      const delta = fold.push(id)
      text[delta.channel] += delta.text
    }
    const last = fold.end()
    text[last.channel] += last.text
    const [, reasoning = '', content = ''] = /^(?:\n([^]*)\n<\/think>\n\n)?([^]*)<\|im_end\|>$/.exec(completion) ?? []
    expect(text).toEqual({ reasoning, content })
    expect(content).not.toBe('')
    expect(reasoning !== '').toBe(think)
  })
})

describe('loadModelText', () => {
  it('unites the end tokens of config, generation config and tokenizer, and takes the defaults from the file', async () => {
    expect(model).toMatchObject({
      modelId: 'axk1-tiny',
      contextTokensMax: 2048,
      vocabSize: 1024,
      stopTokenIds: [1015],
      generationDefaults: { temperature: 0.6, topP: 0.95, topK: 0, minP: 0 },
    })
    const config = await readFile(join(dir, 'config.json'), 'utf8')
    const folder = await folderWith({
      'config.json': config.replace(/"eos_token_id": \d+/, '"eos_token_id": 1012'),
      'generation_config.json': '{"eos_token_id": [1013, 1012]}',
    })
    const united = await loadModelText(folder, 'x')
    expect(united.stopTokenIds).toEqual([1012, 1013, 1015])
  })

  it('makes no text of an end token, also one that is not special', async () => {
    const folder = await folderWith({ 'generation_config.json': '{"eos_token_id": 1019}' })
    const fold = (await loadModelText(folder, 'x')).answer({ think: false, stop: [] })
    expect([1018, 1019, 1015].map((id) => fold.push(id).text)).toEqual(['<tool_call>', '', ''])
  })

  it('refuses a prompt far over the context before it encodes it, with the counts', () => {
    const messages: TemplateMessage[] = [{ role: 'user', content: 'x'.repeat(1_000_000) }]
    expect(() => model.promptTokens({ messages, think: false })).toThrow(
      expect.objectContaining({ code: 'context_length_exceeded' }),
    )
  })

  it('reads a template from tokenizer_config.json when it has no file of its own', async () => {
    const chat_template = await readFile(join(dir, 'chat_template.jinja'), 'utf8')
    const config = JSON.stringify({ eos_token: '<|im_end|>', chat_template })
    const folder = await folderWith({ 'chat_template.jinja': null, 'tokenizer_config.json': config })
    const chat = { messages: [{ role: 'user', content: 'Hello!' }], think: true } as const
    expect((await loadModelText(folder, 'x')).promptTokens(chat)).toEqual(model.promptTokens(chat))
  })

  it.each<[problem: string, files: Readonly<Record<string, string | null>>]>([
    ['chat_template.jinja: there is no such file', { 'chat_template.jinja': null }],
    ['tokenizer.json: there is no such file', { 'tokenizer.json': null }],
    ['tokenizer.json: expected JSON', { 'tokenizer.json': '{' }],
    ['from pieces', { 'chat_template.jinja': "{% for m in messages %}{{ '<|' + 'im_start' + '|>' }}{% endfor %}" }],
    ['config.json: there is no such file', { 'config.json': null }],
    [
      'longer than 250 ms',
      { 'chat_template.jinja': '{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}' },
    ],
    ['pre_tokenizer: over "a" repeated, it takes longer than 1000 ms', { 'tokenizer.json': withPattern('(?:a+)+$|.') }],
    ['pre_tokenizer: over " " repeated, it takes longer', { 'tokenizer.json': withPattern('\\\\s+x|.') }],
    ['cannot render', { 'chat_template.jinja': '{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}' }],
    ['cannot render', { 'chat_template.jinja': "{{ raise_exception('no') }}" }],
    ['eos_token_id', { 'config.json': '{"eos_token_id": "x"}' }],
    ['eos_token: tokenizer.json has no added token "</s>"', { 'tokenizer_config.json': '{"eos_token": "</s>"}' }],
    ['eos_token_id: expected ids below 1024', { 'generation_config.json': '{"eos_token_id": [1015, 1024]}' }],
    ['generation_config.json', { 'generation_config.json': '{"temperature": "hot"}' }],
  ])('refuses by name: %s', async (problem, files) => {
    const folder = await folderWith(files)
    await expect(loadModelText(folder, 'x')).rejects.toThrow(CheckpointError)
    await expect(loadModelText(folder, 'x')).rejects.toThrow(problem)
  })
  it('spells each token by the bytes it adds to an answer, and names those that add none', async () => {
    for (let id = 0; id < model.vocabSize; id += 1) {
      expect(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(spelledBytes(id)))).toBe(
        model.decode([id]),
      )
    }
    const [end = -1] = model.stopTokenIds
    expect(model.spell(end)).toEqual({ token: '<|im_end|>', bytes: null })
  })
})
