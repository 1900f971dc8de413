-- Who may call: tenants and their API keys. A key itself is never stored: only its HMAC digest and the pepper's id.
-- Times are Unix milliseconds; NULL means it has not happened or has no end.
CREATE TABLE tenants (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  archived_at_ms INTEGER
) STRICT;

CREATE TABLE api_keys (
  -- The eight characters of the key that may be shown and logged.
  id TEXT PRIMARY KEY,
  tenant_id TEXT REFERENCES tenants (id),
  kind TEXT NOT NULL CHECK (kind IN ('live', 'admin')),
  name TEXT NOT NULL,
  -- HMAC-SHA-256 of the whole key, hexadecimal.
  digest TEXT NOT NULL UNIQUE,
  pepper_id TEXT NOT NULL,
  -- JSON array of scope names.
  scopes TEXT NOT NULL CHECK (json_valid(scopes)),
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER,
  revoked_at_ms INTEGER,
  -- An admin key belongs to the deployment, every other to a tenant.
  CHECK ((kind = 'admin') = (tenant_id IS NULL))
) STRICT;

CREATE INDEX api_keys_of_tenant ON api_keys (tenant_id);
