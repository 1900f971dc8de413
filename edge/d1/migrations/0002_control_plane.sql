-- The control plane: limits of tenants, what keys may do, what was used and what it cost, who changed what.
-- Money is whole nano-USD; prices are µUSD per million tokens (= pUSD a token). Times are Unix milliseconds.
ALTER TABLE tenants ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 600 CHECK (requests_per_minute >= 0);
ALTER TABLE tenants ADD COLUMN tokens_per_minute INTEGER NOT NULL DEFAULT 1000000 CHECK (tokens_per_minute >= 0);
ALTER TABLE tenants ADD COLUMN concurrent_requests_max INTEGER NOT NULL DEFAULT 100 CHECK (concurrent_requests_max >= 0);
ALTER TABLE tenants ADD COLUMN queued_jobs_max INTEGER NOT NULL DEFAULT 1000 CHECK (queued_jobs_max >= 0);
ALTER TABLE tenants ADD COLUMN queued_tokens_max INTEGER NOT NULL DEFAULT 10000000 CHECK (queued_tokens_max >= 0);
-- NULL: no budget.
ALTER TABLE tenants ADD COLUMN monthly_budget_nano INTEGER CHECK (monthly_budget_nano >= 0);
-- Share of the cell under contention, in thousandths.
ALTER TABLE tenants ADD COLUMN weight_milli INTEGER NOT NULL DEFAULT 1000 CHECK (weight_milli BETWEEN 1 AND 1000000);
ALTER TABLE tenants ADD COLUMN tiers TEXT NOT NULL DEFAULT '["default","flex"]' CHECK (json_valid(tiers));
ALTER TABLE tenants ADD COLUMN default_tier TEXT NOT NULL DEFAULT 'default' CHECK (default_tier IN ('priority', 'default', 'flex'));

-- JSON arrays; NULL: any.
ALTER TABLE api_keys ADD COLUMN models TEXT CHECK (models IS NULL OR json_valid(models));
ALTER TABLE api_keys ADD COLUMN ip_allowlist TEXT CHECK (ip_allowlist IS NULL OR json_valid(ip_allowlist));
ALTER TABLE api_keys ADD COLUMN last_used_at_ms INTEGER;
-- The key that this one replaced by rotation.
ALTER TABLE api_keys ADD COLUMN replaces_id TEXT;

CREATE TABLE prices (
  model TEXT NOT NULL,
  effective_from_ms INTEGER NOT NULL,
  input_micro INTEGER NOT NULL CHECK (input_micro BETWEEN 0 AND 1000000000),
  cached_input_micro INTEGER NOT NULL CHECK (cached_input_micro BETWEEN 0 AND 1000000000),
  output_micro INTEGER NOT NULL CHECK (output_micro BETWEEN 0 AND 1000000000),
  priority_percent INTEGER NOT NULL DEFAULT 200 CHECK (priority_percent BETWEEN 0 AND 1000),
  flex_percent INTEGER NOT NULL DEFAULT 50 CHECK (flex_percent BETWEEN 0 AND 1000),
  batch_percent INTEGER NOT NULL DEFAULT 50 CHECK (batch_percent BETWEEN 0 AND 1000),
  PRIMARY KEY (model, effective_from_ms)
) STRICT, WITHOUT ROWID;

-- One row an ended job, exactly one (I6): the primary key refuses a second.
CREATE TABLE usage_jobs (
  job_id TEXT PRIMARY KEY,
  tenant_id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  is_thinking INTEGER NOT NULL CHECK (is_thinking IN (0, 1)),
  tier TEXT NOT NULL,
  status TEXT NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  input_nano INTEGER NOT NULL,
  cached_nano INTEGER NOT NULL,
  output_nano INTEGER NOT NULL,
  admitted_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_jobs_ended ON usage_jobs (ended_at_ms, job_id);
CREATE INDEX usage_jobs_of_tenant ON usage_jobs (tenant_id, ended_at_ms);

-- The same, summed; written by the trigger alone. minute = Unix minutes.
CREATE TABLE usage_minutes (
  minute INTEGER NOT NULL,
  tenant_id TEXT NOT NULL,
  key_id TEXT NOT NULL,
  model TEXT NOT NULL,
  is_thinking INTEGER NOT NULL,
  tier TEXT NOT NULL,
  request_count INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  input_nano INTEGER NOT NULL,
  cached_nano INTEGER NOT NULL,
  output_nano INTEGER NOT NULL,
  PRIMARY KEY (minute, tenant_id, key_id, model, is_thinking, tier)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_minutes_of_tenant ON usage_minutes (tenant_id, minute);
CREATE TRIGGER usage_jobs_sum AFTER INSERT ON usage_jobs BEGIN
  INSERT INTO usage_minutes VALUES (
    new.ended_at_ms / 60000, new.tenant_id, new.key_id, new.model, new.is_thinking, new.tier, 1, new.input_tokens,
    new.cached_tokens, new.output_tokens, new.reasoning_tokens, new.input_nano, new.cached_nano, new.output_nano
  )
  ON CONFLICT (minute, tenant_id, key_id, model, is_thinking, tier) DO UPDATE SET
    request_count = request_count + 1,
    input_tokens = input_tokens + excluded.input_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    input_nano = input_nano + excluded.input_nano,
    cached_nano = cached_nano + excluded.cached_nano,
    output_nano = output_nano + excluded.output_nano;
END;
-- INSERT OR REPLACE would delete a bill in silence and sum its successor beside it. A second row of a job is passed over.
CREATE TRIGGER usage_jobs_once BEFORE INSERT ON usage_jobs
WHEN EXISTS (SELECT 1 FROM usage_jobs WHERE job_id = new.job_id) BEGIN
  SELECT RAISE(IGNORE);
END;
CREATE TRIGGER usage_jobs_fixed BEFORE UPDATE ON usage_jobs BEGIN
  SELECT RAISE(ABORT, 'usage is append-only');
END;

-- Who did what, when, from where. Append-only: the triggers refuse everything else.
CREATE TABLE audit_logs (
  -- audit_<ULID>: in the order of time.
  id TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  type TEXT NOT NULL,
  -- NULL: the bootstrap secret.
  actor_key_id TEXT,
  actor_ip TEXT,
  request_id TEXT NOT NULL,
  project_id TEXT,
  resource_id TEXT NOT NULL,
  details TEXT NOT NULL CHECK (json_valid(details))
) STRICT;
CREATE INDEX audit_logs_of_project ON audit_logs (project_id, id);
CREATE TRIGGER audit_logs_fixed BEFORE UPDATE ON audit_logs BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- INSERT OR REPLACE deletes without telling the trigger below.
CREATE TRIGGER audit_logs_once BEFORE INSERT ON audit_logs
WHEN EXISTS (SELECT 1 FROM audit_logs WHERE id = new.id) BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_logs_kept BEFORE DELETE ON audit_logs BEGIN
  SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Answers to admin POSTs with an Idempotency-Key; sealed under that key's text, of which only a digest is here.
CREATE TABLE idempotent_answers (
  caller_key_id TEXT NOT NULL,
  key_digest TEXT NOT NULL,
  body_digest TEXT NOT NULL,
  status INTEGER NOT NULL,
  sealed_body TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  PRIMARY KEY (caller_key_id, key_digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotent_answers_age ON idempotent_answers (created_at_ms);

-- One row at most: the bootstrap secret makes one admin key, once.
CREATE TABLE bootstrap (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  admin_key_id TEXT NOT NULL,
  used_at_ms INTEGER NOT NULL
) STRICT;
