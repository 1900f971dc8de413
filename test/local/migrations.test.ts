/** The migrations as this machine applies them, on SQLite itself: they hold together, and what must not change cannot. */
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, it } from 'vitest'
import { readMigrations, statementsOf } from '../../local/migrations.ts'

const migrations = await readMigrations()
let database: DatabaseSync
beforeEach(() => {
  database = new DatabaseSync(':memory:')
  for (const { statements } of migrations) for (const statement of statements) database.exec(statement)
})

function addJob(jobId: string, endedAtMs: number, inputTokens: number): void {
  database
    .prepare(
      `INSERT INTO usage_jobs VALUES (?, 't', 'k', 'm', 0, 'default', 'completed', ?, 1, 2, 1, 10, 5, 20, 0, ?)
       ON CONFLICT (job_id) DO NOTHING`,
    )
    .run(jobId, inputTokens, endedAtMs)
}

describe('statementsOf()', () => {
  it('keeps a trigger whole and leaves comments out', () => {
    const sql = `-- One; two;
CREATE TABLE a (b TEXT); -- three;
CREATE TRIGGER c AFTER INSERT ON a BEGIN
  DELETE FROM a;
  SELECT 1;
END;
INSERT INTO a
VALUES ('x;y');
`
    expect(statementsOf(sql)).toEqual([
      'CREATE TABLE a (b TEXT);',
      'CREATE TRIGGER c AFTER INSERT ON a BEGIN\n  DELETE FROM a;\n  SELECT 1;\nEND;',
      "INSERT INTO a\nVALUES ('x;y');",
    ])
  })

  it('refuses a file that breaks off', () => {
    expect(() => statementsOf('CREATE TABLE a (b TEXT)')).toThrow('semicolon')
  })
})

describe('the tables', () => {
  it('count a job once, however often its row comes, and sum it by minute', () => {
    addJob('a', 60_000, 7)
    addJob('a', 60_000, 7)
    addJob('b', 119_999, 5)
    addJob('c', 120_000, 3)
    const minutes = database
      .prepare('SELECT minute, request_count, input_tokens, output_nano FROM usage_minutes ORDER BY minute')
      .all()
    expect(minutes).toMatchObject([
      { minute: 1, request_count: 2, input_tokens: 12, output_nano: 40 },
      { minute: 2, request_count: 1, input_tokens: 3, output_nano: 20 },
    ])
  })

  it.each(['INSERT OR REPLACE', 'REPLACE', 'INSERT OR IGNORE'])(
    'keep a bill as it stands, and its sum, from %s',
    (verb) => {
      addJob('a', 0, 1)
      addJob('b', 0, 1)
      const books = () =>
        ['usage_jobs', 'usage_minutes'].map((table) => database.prepare(`SELECT * FROM ${table} ORDER BY 1`).all())
      const before = books()
      database.exec('CREATE TEMP TABLE again AS SELECT * FROM usage_jobs; UPDATE again SET output_nano = 1')
      database.exec(`${verb} INTO usage_jobs SELECT * FROM again`)
      expect(books()).toEqual(before)
      // A row that is new is taken in between two that are not.
      database.exec(`INSERT INTO again SELECT * FROM again; UPDATE again SET job_id = 'c' WHERE rowid = 2`)
      database.exec(`${verb} INTO usage_jobs SELECT * FROM again`)
      expect(database.prepare('SELECT job_id FROM usage_jobs ORDER BY 1').all()).toEqual([
        { job_id: 'a' },
        { job_id: 'b' },
        { job_id: 'c' },
      ])
    },
  )

  it('let nobody change usage or the audit log', () => {
    addJob('a', 0, 1)
    database.exec(`INSERT INTO audit_logs VALUES ('audit_1', 0, 'project.created', NULL, NULL, 'req', NULL, 'p', '{}')`)
    expect(() => database.exec('UPDATE usage_jobs SET input_tokens = 0')).toThrow('append-only')
    expect(() => database.exec(`UPDATE audit_logs SET type = 'x'`)).toThrow('append-only')
    expect(() => database.exec('DELETE FROM audit_logs')).toThrow('append-only')
  })

  it('give a new tenant limits, and no budget', () => {
    database.exec(`INSERT INTO tenants (id, name, created_at_ms) VALUES ('t', 'T', 0)`)
    const tenant = database.prepare('SELECT * FROM tenants').get()
    expect(tenant).toMatchObject({ requests_per_minute: 600, monthly_budget_nano: null, default_tier: 'default' })
  })
})
