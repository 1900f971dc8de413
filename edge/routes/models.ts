/** The models of this deployment: one, under its id and its aliases, where the caller's key may name it. */
import type { Context } from 'hono'
import type { AppEnv } from '../app-env.ts'
import { mayName, modelNotFound } from '../broker/admission.ts'
import { tenantOf } from '../auth/caller.ts'
import { askFleet } from '../broker/client.ts'
import type { Fleet } from '../broker/protocol.ts'

export async function listModels(context: Context<AppEnv>): Promise<Response> {
  const data = modelObjects(await askFleet(context.env), tenantOf(context))
  return Response.json({ object: 'list', data })
}

/** @throws AppError model_not_found. */
export async function retrieveModel(context: Context<AppEnv>): Promise<Response> {
  const name = context.req.param('model')
  const model = modelObjects(await askFleet(context.env), tenantOf(context)).find((candidate) => candidate.id === name)
  if (model === undefined) throw modelNotFound()
  return Response.json(model)
}

function modelObjects({ model }: Fleet, { models }: Pick<ReturnType<typeof tenantOf>, 'models'>) {
  if (model === null || !mayName(models, model)) return []
  return [model.id, ...model.aliases].map((id) => ({
    id,
    object: 'model' as const,
    created: model.created,
    owned_by: 'axle',
  }))
}
