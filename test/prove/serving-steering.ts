/**
 * What `prove serving` asks of the choice of tokens: log probabilities, biases, penalties, a least length.
 *
 * Through the SDK, as its types have them. It knows neither workers nor how the stack was started.
 */
import assert from 'node:assert/strict'
import { BadRequestError, type OpenAI } from 'openai'
import { requestOf } from './serving-questions.ts'

/** In axk1-tiny's vocabulary. */
const tokenOf7 = 55
/** Weak enough for a long answer to go on, with counts that matter to every token of it. */
export const steering = {
  frequency_penalty: 0.5,
  presence_penalty: 0.25,
  repetition_penalty: 1.1,
  min_tokens: 150,
  logprobs: true,
}

export async function tokensSteered(client: OpenAI, model: string): Promise<void> {
  const plain = requestOf(model, { content: 'What is 4821 + 397?', think: false, expected: null })
  const told = await answered(client, { ...plain, logprobs: true, top_logprobs: 5 })
  for (const { token, logprob, bytes, top_logprobs: likeliest } of told.tokens) {
    assert.deepEqual(bytes, [...Buffer.from(token)], 'This answer is all of whole characters')
    assert.equal(likeliest.length, 5, 'As many of the likeliest as were asked for')
    assert(logprob <= 0 && logprob === likeliest[0]?.logprob, 'The greedy choice is the likeliest')
  }
  assert.equal(told.tokens.map(({ token }) => token).join(''), told.content, 'The tokens are the content')

  const steered = await answered(client, { ...plain, ...steering })
  assert.notEqual(steered.content, told.content, 'Penalties and a least length change an answer')
  assert(steered.tokens.length >= steering.min_tokens, 'An answer is as long as was asked at the least')

  const sevens = await answered(client, { ...plain, logprobs: true, max_tokens: 4, logit_bias: { [tokenOf7]: 100 } })
  assert.equal(sevens.content, '7777', 'Nothing outweighs a bias of 100')
  const beyond = client.chat.completions.create({ ...plain, logit_bias: { 2_000_000_000: 1 } })
  await assert.rejects(beyond, (error) => error instanceof BadRequestError && error.param === 'logit_bias')
  console.log(`  ${told.tokens.length + steered.tokens.length} tokens with log probabilities, streamed and not: equal`)
}

/** Whole and streamed, which must be equal. */
async function answered(
  client: OpenAI,
  request: OpenAI.ChatCompletionCreateParamsNonStreaming,
): Promise<{ readonly content: string; readonly tokens: readonly OpenAI.ChatCompletionTokenLogprob[] }> {
  const [choice] = (await client.chat.completions.create(request)).choices
  const whole = { content: choice?.message.content ?? '', tokens: choice?.logprobs?.content ?? [] }
  const stream = await client.chat.completions.create({ ...request, stream: true })
  let content = ''
  const tokens: OpenAI.ChatCompletionTokenLogprob[] = []
  for await (const { choices } of stream) {
    content += choices[0]?.delta.content ?? ''
    tokens.push(...(choices[0]?.logprobs?.content ?? []))
  }
  assert.deepEqual({ content, tokens }, whole, 'Streamed and not are equal')
  return whole
}
