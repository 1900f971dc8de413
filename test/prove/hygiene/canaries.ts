/**
 * Texts that must stay where they belong, and the search for them: as they are, and in the spellings in which text travels.
 *
 * It does not know where they are sent, nor what is searched.
 */
import { randomBytes } from 'node:crypto'

/** What a text is, which is what a finding may say of it: never the text. */
export interface Canary {
  readonly name: string
  readonly text: string
}

export interface Finding {
  readonly canary: string
  readonly place: string
}

/** A piece of what the product wrote or said. */
export interface Evidence {
  readonly place: string
  readonly bytes: Buffer
}

/** A word that nothing else contains; letters and digits, so that few spellings change it. */
export function newCanary(name: string): Canary {
  return { name, text: `canary${randomBytes(16).toString('hex')}` }
}

/** The part of a key that authenticates: its id may be told. */
export function secretOf(name: string, key: string): Canary {
  const secret = /^axle_(?:live|admin)_[0-9A-Za-z]{8}_([0-9A-Za-z]{32})_/.exec(key)?.[1]
  if (secret === undefined) throw new TypeError(`The ${name} is not a key`)
  return { name, text: secret }
}

export function search(evidence: readonly Evidence[], canaries: readonly Canary[]): Finding[] {
  const spelled = canaries.map(({ name, text }) => ({ name, spellings: spellingsOf(text) }))
  return evidence.flatMap(({ place, bytes }) =>
    spelled
      .filter(({ spellings }) => spellings.some((spelling) => bytes.includes(spelling)))
      .map(({ name }) => ({ canary: name, place })),
  )
}

/** Plain, percent-encoded, hexadecimal, and in Base64 at each of its three phases, without the ends that neighbours share. */
function spellingsOf(text: string): Buffer[] {
  const bytes = Buffer.from(text)
  const phases = [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replaceAll('=', '')
    return encoded.slice(shift === 0 ? 0 : shift + 1, -1)
  })
  return [text, encodeURIComponent(text), bytes.toString('hex'), ...phases].map((spelling) => Buffer.from(spelling))
}
