/** What a key may be allowed to do, and what a route demands. Words only: it knows neither keys nor routes. */

/** Of a tenant's key. */
export const tenantScopes = ['inference', 'batch', 'files', 'webhooks', 'usage'] as const
export type Scope = (typeof tenantScopes)[number]

/** `usage-or-admin`: an admin key, or a tenant's key with the scope `usage`, which sees its own project only. */
export type Access = 'public' | 'admin' | 'usage-or-admin' | Scope
