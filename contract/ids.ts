/**
 * Names of things: a job has one ULID everywhere; the public id is a prefix and that ULID.
 *
 * Pure: the caller passes time and randomness in.
 */
import { encodeTime } from 'ulid'
import assert from 'node:assert/strict'

declare const jobIdBrand: unique symbol
/** ULID, 26 characters of Crockford base 32: `|- 48 bit ms -||---- 80 random bits ----|`. */
export type JobId = string & { readonly [jobIdBrand]: true }

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const timeChars = 10
const randomChars = 16
const jobIdPattern = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

/** What a client calls the job, by the API that made it. */
export const publicPrefixes = { chat: 'chatcmpl-', response: 'resp_' } as const
export type PublicKind = keyof typeof publicPrefixes

/** @param random u8 [16]: one byte a character, of which five bits are used. */
export function newJobId(nowMs: number, random: Uint8Array): JobId {
  assert(random.length === randomChars, 'a job id takes 16 random bytes')
  return (encodeTime(nowMs, timeChars) + Array.from(random, (byte) => alphabet.charAt(byte & 31)).join('')) as JobId
}

/** @returns null for anything that is not exactly a job id. */
export function parseJobId(text: string): JobId | null {
  return jobIdPattern.test(text) ? (text as JobId) : null
}

export function publicId(kind: PublicKind, jobId: JobId): string {
  return publicPrefixes[kind] + jobId
}

/** Broker shard of a job, 0 … shardCount − 1. */
export function shardOf(jobId: JobId, shardCount: number): number {
  return spread(jobId, shardCount)
}

/** 0 … count − 1, evenly over jobs: FNV-1a over the id, so that every process finds the same one. */
export function spread(jobId: JobId, count: number): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < jobId.length; i++) hash = Math.imul(hash ^ jobId.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % count
}
