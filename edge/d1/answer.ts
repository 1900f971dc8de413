/**
 * What D1 answers: in time or not at all, and lists as its columns hold them. It knows no table.
 */
import { z } from 'zod'
import { within } from '../within.ts'

/** Of a question that a client's request waits for, with a fallback behind it. */
export const lookupDeadlineMs = 1_500

/** @throws Error when nothing came in time; the work goes on and stays its owner's. */
export async function answerOf<T extends object | number>(work: Promise<T>, deadlineMs: number): Promise<T> {
  const answer = await within(work, deadlineMs)
  if (answer === null) throw new Error(`D1 gave no answer in ${deadlineMs} ms`)
  return answer
}

/** A column of texts as JSON. */
export const jsonTexts = z
  .string()
  .transform((json): unknown => JSON.parse(json))
  .pipe(z.array(z.string()))
