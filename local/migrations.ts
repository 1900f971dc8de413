/**
 * Applies the migrations of `edge/d1/migrations/` to this machine's D1, as `wrangler d1 migrations` does to a remote
 * one.
 *
 * It knows no table but the one in which both note what is applied.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LocalDatabase } from './edge-server.ts'

const folder = join(import.meta.dirname, '..', 'edge/d1/migrations')

/** Applies what is new, in the order of names, each file whole or not at all. */
export async function migrate(database: LocalDatabase): Promise<void> {
  await database.exec(
    'CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)',
  )
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>()
  const applied = new Set(results.map((row) => row.name))
  for (const { name, statements } of await readMigrations()) {
    if (applied.has(name)) continue
    await database.batch([
      ...statements.map((statement) => database.prepare(statement)),
      database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name),
    ])
  }
}

export interface Migration {
  readonly name: string
  readonly statements: readonly string[]
}

/** All migrations, in the order they apply. */
export async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name) => ({ name, statements: statementsOf(await readFile(join(folder, name), 'utf8')) })),
  )
}

/**
 * A statement ends with the line that ends in a semicolon; a trigger, which holds statements, with one that ends in
 * END;
 */
export function statementsOf(sql: string): string[] {
  const statements: string[] = []
  let statement = ''
  for (const line of sql.replaceAll(/--.*$/gm, '').split('\n')) {
    statement = `${statement}\n${line.trimEnd()}`.trim()
    const isEnd = /^CREATE TRIGGER\b/i.test(statement) ? /\bEND;$/i.test(statement) : statement.endsWith(';')
    if (!isEnd) continue
    statements.push(statement)
    statement = ''
  }
  if (statement !== '') throw new SyntaxError('A migration must end its last statement with a semicolon')
  return statements
}
