/**
 * A few harmless chats that together reach every branch a chat template usually has.
 *
 * They are rendered when a model loads, never sent to it.
 */
import type { Chat, TemplateMessage } from './chat-template.ts'

const user: TemplateMessage = { role: 'user', content: 'one' }
const assistant: TemplateMessage = { role: 'assistant', content: 'two' }
const call = { id: 'call_1', type: 'function', function: { name: 'three', arguments: { city: 'four' } } }
const tool = { type: 'function', function: { name: 'three', description: 'five', parameters: { type: 'object' } } }
const system: TemplateMessage = { role: 'system', content: 'six' }
const calling: TemplateMessage = { role: 'assistant', content: '', reasoning_content: 'seven', tool_calls: [call] }
const result: TemplateMessage = { role: 'tool', content: 'eight', tool_call_id: 'call_1', name: 'three' }

const chats: readonly Omit<Chat, 'think'>[] = [
  { messages: [user] },
  { messages: [system, user] },
  { messages: [user, assistant, user] },
  { messages: [user], tools: [tool] },
  { messages: [system, user, calling, result], tools: [tool] },
]

export const templateProbes: readonly Chat[] = chats.flatMap((chat) => [
  { ...chat, think: false },
  { ...chat, think: true },
])
