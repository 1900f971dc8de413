/**
 * 1,000 generated chats as Hugging Face's Python rendered and tokenised them, against ours: text for text, ids for ids.
 *
 * `test/fixtures/make-chats.py` made them and says what stands in for Python where a client's text spells control tokens.
 */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { ChatTemplate, type TemplateMessage } from '../../gpu-worker/model/chat-template.ts'
import { loadTokenizer, textOfPieces, type Tokenizer } from '../../gpu-worker/model/tokenizer.ts'

interface FrozenChat {
  readonly messages: readonly TemplateMessage[]
  readonly tools: readonly unknown[] | null
  readonly think: boolean
  readonly text: string
  readonly ids: readonly number[]
}

interface Fixture {
  readonly spellsControlTokens: number
  readonly chats: readonly FrozenChat[]
}

const dir = 'models/axk1-tiny'
const packed = readFileSync(join(import.meta.dirname, '../fixtures/chats.json.gz'))
const { chats, spellsControlTokens } = JSON.parse(gunzipSync(packed).toString()) as Fixture // our own test data

let template: ChatTemplate
let tokenizer: Tokenizer
beforeAll(async () => {
  tokenizer = await loadTokenizer(dir)
  const source = await readFile(join(dir, 'chat_template.jinja'), 'utf8')
  template = new ChatTemplate(source, tokenizer.controlTokens, tokenizer.namedTokens)
})

function isSame(theirs: readonly number[], ours: readonly number[]): boolean {
  return theirs.length === ours.length && theirs.every((id, at) => id === ours[at])
}

/** Indexes of the chats for which `isEqual` does not hold. */
function differing(
  isEqual: (chat: FrozenChat, ours: { readonly text: string; readonly ids: readonly number[] }) => boolean,
) {
  return chats.flatMap((chat, index) => {
    const pieces = template.render({ messages: chat.messages, tools: chat.tools ?? undefined, think: chat.think })
    const ours = { text: textOfPieces(pieces), ids: tokenizer.encodePieces(pieces) }
    return isEqual(chat, ours) ? [] : [index]
  })
}

describe("transformers' 1,000 chats", () => {
  it('are of every kind: thinking, tools, history, and text that spells control tokens', () => {
    expect(chats).toHaveLength(1000)
    expect(spellsControlTokens).toBeGreaterThan(250)
    const count = (is: (chat: FrozenChat) => boolean): number => chats.filter(is).length
    expect(count((chat) => chat.think)).toBeGreaterThan(400)
    expect(count((chat) => chat.tools !== null)).toBeGreaterThan(200)
    expect(count((chat) => chat.messages.some((message) => message.role === 'tool'))).toBeGreaterThan(100)
    expect(count((chat) => chat.messages.some((message) => message.reasoning_content))).toBeGreaterThan(200)
    expect(count((chat) => chat.messages.some((message) => message.content === ''))).toBeGreaterThan(100)
    expect(count((chat) => chat.ids.length > 2048)).toBeGreaterThan(10)
  })

  it('render to the same text, every one', () => {
    expect(differing((chat, { text }) => text === chat.text)).toEqual([])
  })

  it('have the same ids, every one', () => {
    expect(differing((chat, { ids }) => isSame(chat.ids, ids))).toEqual([])
  })
})
