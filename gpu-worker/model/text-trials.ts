/**
 * What the text files of a folder go through before they serve: patterns that must stay quick, templates that must end.
 *
 * It knows what may go wrong, not what the files are for.
 */
import { AppError } from '../../contract/errors.ts'
import { ChatTemplate } from './chat-template.ts'
import { CheckpointError, quote } from './checkpoint-error.ts'
import { templateProbes } from './template-probes.ts'
import { TimeLimitError, withinMs } from './time-limit.ts'
import { TOKENIZER_FILE } from './tokenizer-file.ts'
import { textOfPieces, type Tokenizer } from './tokenizer.ts'

const TEMPLATE_FILE = 'chat_template.jinja'
/** Parsing, and ten chats of a few words. */
const TEMPLATE_MS_MAX = 3_000
/** Quadratic time over this many characters is 4 s and more, linear time some 20 ms. */
const TRIAL_CHARACTERS = 64 << 10
const PATTERN_MS_MAX = 1_000
const TRIES = 3
const trialTexts = ['a', 'A', '1', ' ', '\n', '.', '가', '\u0301', 'a ', 'aA1. \n가']

/** @throws CheckpointError when cutting a text into pieces takes more than linear time. */
export function tryPatterns(tokenizer: Tokenizer): void {
  for (const text of trialTexts) {
    // What none of the texts ends with makes a pattern take back all that it took.
    const long = `${text.repeat(Math.ceil(TRIAL_CHARACTERS / text.length))}\0`
    const slow = slowness(() => tokenizer.encodeText(long))
    if (slow !== null) {
      throw new CheckpointError(TOKENIZER_FILE, `pre_tokenizer: over ${quote(text)} repeated, ${slow}`)
    }
  }
}

/** Null once it was quick: a busy machine may hold up one try, a slow pattern is slow every time. */
function slowness(run: () => unknown): string | null {
  let slow: string | null = null
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      withinMs(PATTERN_MS_MAX, run)
      return null
    } catch (error) {
      if (!(error instanceof TimeLimitError)) throw error
      slow = error.message
    }
  }
  return slow
}

/** @throws CheckpointError. */
export function tryTemplate(source: string, tokenizer: Tokenizer): ChatTemplate {
  try {
    return withinMs(TEMPLATE_MS_MAX, () => {
      const template = new ChatTemplate(source, tokenizer.controlTokens, tokenizer.namedTokens)
      checkMarks(source, template, tokenizer)
      return template
    })
  } catch (error) {
    if (!(error instanceof TimeLimitError)) throw error
    throw new CheckpointError(TEMPLATE_FILE, error.message)
  }
}

/**
 * A template that puts a control token together from pieces (`'<|' + role + '|>'`) would lose it: marks replace whole
 * spellings. So some chats are rendered both ways once, and must give the same ids.
 */
function checkMarks(source: string, template: ChatTemplate, tokenizer: Tokenizer): void {
  const plain = new ChatTemplate(source, new Map(), tokenizer.namedTokens)
  let rendered = 0
  for (const chat of templateProbes) {
    let pieces
    try {
      pieces = template.renderProbe(chat)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      // Templates may refuse tools or a system message; one that refuses everything is caught below.
      continue
    }
    rendered += 1
    const expected = tokenizer.encodeMarked(textOfPieces(plain.renderProbe(chat)))
    if (tokenizer.encodePieces(pieces).join(' ') !== expected.join(' ')) {
      throw new CheckpointError(TEMPLATE_FILE, 'not supported yet: it puts a control token together from pieces')
    }
  }
  if (rendered === 0) throw new CheckpointError(TEMPLATE_FILE, 'it cannot render a chat of one user message')
}
