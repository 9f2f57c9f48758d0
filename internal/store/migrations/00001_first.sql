-- +goose Up
-- One schema for SQLite and PostgreSQL. Ids are UUIDv7 text, instants microseconds since 1970 UTC
-- (0: never), documents JSON text that SQL never looks into.
--
-- Where rows are written with every job, constraints and conditions of indexes say a = 'x' OR a = 'y' and not
-- IN: of a list of three and more values SQLite makes a table each time that a row is written. On PostgreSQL
-- the constraints of such tables are dropped at once (postgres.go), because there they cost as much as the rest of the statement.

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL DEFAULT '{}',
    forge_app  TEXT NOT NULL DEFAULT 'null', -- the app that speaks for it at a forge, a JSON document
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    email         TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL DEFAULT '',
    created_at    BIGINT NOT NULL
);

CREATE TABLE members (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    user_id         TEXT NOT NULL REFERENCES users (id),
    role            TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    PRIMARY KEY (organization_id, user_id)
);

CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- A link is used once: used_at is set in the transaction that makes the session.
CREATE TABLE sign_in_links (
    token_hash TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users (id),
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE api_tokens (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    user_id         TEXT NOT NULL REFERENCES users (id),
    token_hash      TEXT NOT NULL UNIQUE,
    description     TEXT NOT NULL,
    scopes          TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL DEFAULT 0,
    revoked_at      BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE clusters (
    id               TEXT PRIMARY KEY,
    organization_id  TEXT NOT NULL REFERENCES organizations (id),
    name             TEXT NOT NULL,
    default_queue_id TEXT NOT NULL DEFAULT '',
    created_at       BIGINT NOT NULL
);

CREATE TABLE queues (
    id          TEXT PRIMARY KEY,
    cluster_id  TEXT NOT NULL REFERENCES clusters (id),
    key         TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    paused_at   BIGINT NOT NULL DEFAULT 0,
    paused_by   TEXT NOT NULL DEFAULT '', -- user
    paused_note TEXT NOT NULL DEFAULT '',
    retry_agent_affinity TEXT NOT NULL CHECK (retry_agent_affinity = 'prefer-warmest' OR retry_agent_affinity = 'prefer-different'),
    created_at  BIGINT NOT NULL,
    UNIQUE (cluster_id, key)
);

CREATE TABLE agent_tokens (
    id          TEXT PRIMARY KEY,
    cluster_id  TEXT NOT NULL REFERENCES clusters (id),
    token_hash  TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL DEFAULT 0,
    revoked_at  BIGINT NOT NULL DEFAULT 0,
    created_by  TEXT NOT NULL DEFAULT '',
    allowed_ips TEXT NOT NULL DEFAULT '' -- networks, apart by spaces
);

CREATE TABLE agents (
    id                    TEXT PRIMARY KEY,
    cluster_id            TEXT NOT NULL REFERENCES clusters (id),
    queue_id              TEXT NOT NULL REFERENCES queues (id),
    token_hash            TEXT NOT NULL UNIQUE,
    agent_token_id        TEXT NOT NULL REFERENCES agent_tokens (id),
    name                  TEXT NOT NULL,
    hostname              TEXT NOT NULL,
    os                    TEXT NOT NULL,
    arch                  TEXT NOT NULL,
    version               TEXT NOT NULL,
    build                 TEXT NOT NULL,
    pid                   BIGINT NOT NULL,
    machine_id            TEXT NOT NULL,
    process               TEXT NOT NULL DEFAULT '', -- by which its end can be proved on its own machine
    ip                    TEXT NOT NULL,
    user_agent            TEXT NOT NULL,
    tags                  TEXT NOT NULL, -- JSON list of "key=value"
    features              TEXT NOT NULL, -- JSON list
    priority              BIGINT, -- NULL sorts last
    ignore_in_dispatches  BOOLEAN NOT NULL,
    state                 TEXT NOT NULL CHECK (state = 'never_connected' OR state = 'connected' OR state = 'stopping'
        OR state = 'disconnected' OR state = 'lost'),
    paused                BOOLEAN NOT NULL DEFAULT FALSE,
    pause_note            TEXT NOT NULL DEFAULT '',
    pause_until           BIGINT NOT NULL DEFAULT 0,
    force_stop            BOOLEAN NOT NULL DEFAULT FALSE,
    job_id                TEXT NOT NULL DEFAULT '', -- the job it holds
    last_pipeline_id      TEXT NOT NULL DEFAULT '',
    last_repository       TEXT NOT NULL DEFAULT '',
    last_success_at       BIGINT NOT NULL DEFAULT 0,
    last_job_at           BIGINT NOT NULL DEFAULT 0,
    created_at            BIGINT NOT NULL,
    connected_at          BIGINT NOT NULL DEFAULT 0,
    last_seen_at          BIGINT NOT NULL DEFAULT 0,
    job_seen_at           BIGINT NOT NULL DEFAULT 0, -- when its job was last heard of; 0: not since it was given
    changed_at            BIGINT NOT NULL DEFAULT 0, -- but for last_seen_at and job_seen_at
    ended_at              BIGINT NOT NULL DEFAULT 0
);
-- Of several indexes with one condition PostgreSQL takes any as long as its statistics say that few rows meet it, and reads all that
-- do; statistics are a minute old, and queues fill within moments. So all but one of them have a condition that holds for
-- every row, and that the statements which the index is meant for repeat.
CREATE INDEX agents_idle ON agents (queue_id, (COALESCE(priority, -1000000000000)) DESC, last_success_at DESC)
    WHERE state = 'connected' AND NOT paused AND NOT ignore_in_dispatches AND job_id = '' AND last_success_at >= 0;
CREATE INDEX agents_warm ON agents (queue_id, last_pipeline_id, last_success_at)
    WHERE state = 'connected' AND NOT paused AND NOT ignore_in_dispatches AND job_id = '' AND last_pipeline_id <> '';
CREATE INDEX agents_changed ON agents (queue_id, changed_at)
    WHERE state = 'connected' AND NOT paused AND NOT ignore_in_dispatches AND job_id = '';
CREATE INDEX agents_live ON agents (cluster_id, name)
    WHERE (state = 'never_connected' OR state = 'connected' OR state = 'stopping');
CREATE INDEX agents_queue ON agents (queue_id)
    WHERE (state = 'never_connected' OR state = 'connected' OR state = 'stopping') AND NOT ignore_in_dispatches AND tags >= '';
CREATE INDEX agents_process ON agents (process)
    WHERE process <> '' AND (state = 'never_connected' OR state = 'connected' OR state = 'stopping');
CREATE INDEX agents_seen ON agents (last_seen_at) WHERE (state = 'never_connected' OR state = 'connected' OR state = 'stopping');

-- Programs that find agents for jobs, such as agent-stack-k8s.
CREATE TABLE stacks (
    id              TEXT PRIMARY KEY,
    cluster_id      TEXT NOT NULL REFERENCES clusters (id),
    key             TEXT NOT NULL,
    type            TEXT NOT NULL CHECK (type IN ('kubernetes', 'elastic', 'custom')),
    queue_id        TEXT NOT NULL REFERENCES queues (id),
    metadata        TEXT NOT NULL, -- JSON object of texts
    created_at      BIGINT NOT NULL,
    seen_at         BIGINT NOT NULL,
    deregistered_at BIGINT NOT NULL DEFAULT 0,
    UNIQUE (cluster_id, key)
);

CREATE TABLE pipelines (
    id                TEXT PRIMARY KEY,
    organization_id   TEXT NOT NULL REFERENCES organizations (id),
    cluster_id        TEXT NOT NULL REFERENCES clusters (id),
    slug              TEXT NOT NULL,
    name              TEXT NOT NULL,
    description       TEXT NOT NULL DEFAULT '',
    repository        TEXT NOT NULL,
    configuration     TEXT NOT NULL DEFAULT '', -- '': read from the repository
    path              TEXT NOT NULL DEFAULT '', -- file in the repository; '': the default ones
    default_branch    TEXT NOT NULL,
    settings          TEXT NOT NULL DEFAULT '{}', -- JSON of what REST clients store and read back
    next_build_number BIGINT NOT NULL DEFAULT 1,
    created_by        TEXT NOT NULL DEFAULT '',
    created_at        BIGINT NOT NULL,
    archived_at       BIGINT NOT NULL DEFAULT 0,
    UNIQUE (organization_id, slug)
);

CREATE TABLE builds (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    pipeline_id     TEXT NOT NULL REFERENCES pipelines (id),
    number          BIGINT NOT NULL,
    state           TEXT NOT NULL CHECK (state = 'creating' OR state = 'scheduled' OR state = 'running' OR state = 'passed'
        OR state = 'failing' OR state = 'failed' OR state = 'blocked' OR state = 'canceling' OR state = 'canceled'
        OR state = 'skipped' OR state = 'not_run'),
    blocked_state   TEXT NOT NULL DEFAULT '',
    version         BIGINT NOT NULL DEFAULT 1, -- grows with every change that pages show
    jobs            TEXT NOT NULL, -- JSON tally
    commit_sha      TEXT NOT NULL,
    branch          TEXT NOT NULL,
    tag             TEXT NOT NULL DEFAULT '',
    message         TEXT NOT NULL,
    source          TEXT NOT NULL CHECK (source = 'ui' OR source = 'api' OR source = 'cli' OR source = 'webhook'
        OR source = 'schedule' OR source = 'trigger_job' OR source = 'pipeline_trigger'),
    detail          TEXT NOT NULL, -- JSON: author, env, pull request, trigger, rebuild, agents, notify, warnings
    creator_id      TEXT NOT NULL DEFAULT '',
    verdict         TEXT NOT NULL CHECK (verdict = 'allow' OR verdict = 'hold' OR verdict = 'deny'),
    verdict_rule    TEXT NOT NULL,
    verdict_reason  TEXT NOT NULL,
    verdict_commit  TEXT NOT NULL,
    verdict_profile TEXT NOT NULL DEFAULT '' CHECK (verdict_profile = '' OR verdict_profile = 'member'
        OR verdict_profile = 'approved'),
    ask_at          BIGINT NOT NULL DEFAULT 0, -- held for want of a fact: when to look for it in the repository
    plan_error      TEXT NOT NULL DEFAULT '',
    canceled_by     TEXT NOT NULL DEFAULT '',
    next_position   BIGINT NOT NULL DEFAULT 0,
    supersedes      BIGINT NOT NULL DEFAULT 0, -- older builds are to be skipped (1) or canceled too (2)
    cancels         BOOLEAN NOT NULL DEFAULT FALSE, -- it is being canceled or began to fail, and its jobs were not all looked at since
    created_at      BIGINT NOT NULL,
    scheduled_at    BIGINT NOT NULL DEFAULT 0,
    started_at      BIGINT NOT NULL DEFAULT 0,
    failing_at      BIGINT NOT NULL DEFAULT 0,
    finished_at     BIGINT NOT NULL DEFAULT 0,
    UNIQUE (pipeline_id, number)
);
CREATE INDEX builds_recent ON builds (organization_id, created_at);
CREATE INDEX builds_open ON builds (organization_id, created_at)
    WHERE (state = 'creating' OR state = 'scheduled' OR state = 'running' OR state = 'failing' OR state = 'blocked'
        OR state = 'canceling');
CREATE INDEX builds_branch ON builds (pipeline_id, branch, number);
CREATE INDEX builds_of_branch_open ON builds (pipeline_id, branch, number)
    WHERE (state = 'creating' OR state = 'scheduled' OR state = 'running' OR state = 'failing' OR state = 'blocked');
CREATE INDEX builds_cancels ON builds (created_at) WHERE cancels;
CREATE INDEX builds_superseding ON builds (created_at) WHERE supersedes > 0;
CREATE INDEX builds_commit ON builds (pipeline_id, commit_sha);
CREATE INDEX builds_asking ON builds (ask_at) WHERE ask_at > 0;
CREATE INDEX builds_creating ON builds (created_at) WHERE state = 'creating';

CREATE TABLE steps (
    id           TEXT PRIMARY KEY,
    build_id     TEXT NOT NULL REFERENCES builds (id),
    position     TEXT NOT NULL, -- digits only, so that any collation sorts it in pipeline order
    kind         TEXT NOT NULL CHECK (kind = 'command' OR kind = 'wait' OR kind = 'block' OR kind = 'input' OR kind = 'trigger'
        OR kind = 'group'),
    key          TEXT, -- NULL if none
    label        TEXT NOT NULL,
    group_id     TEXT NOT NULL DEFAULT '',
    uploader_id  TEXT NOT NULL DEFAULT '', -- the step whose job uploaded it
    implicit     BOOLEAN NOT NULL,
    continues    BOOLEAN NOT NULL, -- a wait with continue_on_failure
    gone         BOOLEAN NOT NULL DEFAULT FALSE, -- removed by an upload that replaces
    state        TEXT NOT NULL CHECK (state = 'ignored' OR state = 'waiting_for_dependencies' OR state = 'ready'
        OR state = 'waiting_for_input' OR state = 'running' OR state = 'failing' OR state = 'finished' OR state = 'canceled'),
    outcome      TEXT NOT NULL CHECK (outcome = 'neutral' OR outcome = 'passed' OR outcome = 'soft_failed'
        OR outcome = 'hard_failed' OR outcome = 'errored'),
    jobs         TEXT NOT NULL, -- JSON tally
    deps_open    BIGINT NOT NULL,
    deps_failed  BIGINT NOT NULL,
    deps_tainted BIGINT NOT NULL,
    definition   TEXT NOT NULL, -- the step as it stood in the document, JSON
    spec         TEXT NOT NULL, -- what its jobs share, JSON
    UNIQUE (build_id, key)
);
CREATE INDEX steps_order ON steps (build_id, position);
CREATE INDEX steps_gates ON steps (uploader_id) WHERE uploader_id <> '' AND (kind = 'wait' OR kind = 'block');

CREATE TABLE edges (
    build_id      TEXT NOT NULL REFERENCES builds (id),
    from_step     TEXT NOT NULL REFERENCES steps (id),
    to_step       TEXT NOT NULL REFERENCES steps (id),
    allow_failure BOOLEAN NOT NULL,
    gate          BOOLEAN NOT NULL,
    implicit      BOOLEAN NOT NULL,
    PRIMARY KEY (from_step, to_step)
);
CREATE INDEX edges_to ON edges (to_step);

CREATE TABLE jobs (
    id             TEXT PRIMARY KEY,
    build_id       TEXT NOT NULL REFERENCES builds (id),
    step_id        TEXT NOT NULL REFERENCES steps (id),
    pipeline_id    TEXT NOT NULL REFERENCES pipelines (id),
    kind           TEXT NOT NULL CHECK (kind = 'script' OR kind = 'waiter' OR kind = 'manual' OR kind = 'trigger'),
    state          TEXT NOT NULL CHECK (state = 'pending' OR state = 'waiting' OR state = 'waiting_failed' OR state = 'blocked'
        OR state = 'blocked_failed' OR state = 'unblocked' OR state = 'unblocked_failed' OR state = 'limiting'
        OR state = 'limited' OR state = 'platform_limiting' OR state = 'platform_limited' OR state = 'scheduled'
        OR state = 'reserved' OR state = 'assigned' OR state = 'accepted' OR state = 'running' OR state = 'canceling'
        OR state = 'canceled' OR state = 'timing_out' OR state = 'timed_out' OR state = 'finished' OR state = 'skipped'
        OR state = 'broken' OR state = 'expired'),
    number         BIGINT NOT NULL, -- place in its step: parallel index or matrix order
    position       TEXT NOT NULL, -- of its step
    queue_id       TEXT NOT NULL DEFAULT '',
    rules          TEXT NOT NULL DEFAULT '[]', -- agent rules but the queue's, JSON list
    lane           TEXT NOT NULL DEFAULT '', -- equal for jobs of one pipeline with equal rules
    priority       BIGINT NOT NULL DEFAULT 0,
    concurrency_group  TEXT NOT NULL DEFAULT '',
    concurrency        BIGINT NOT NULL DEFAULT 0,
    concurrency_method TEXT NOT NULL DEFAULT '',
    group_id       TEXT NOT NULL DEFAULT '', -- organization and concurrency_group; '' without one
    queued         BOOLEAN NOT NULL DEFAULT FALSE, -- in its group's line: limited, or waiting with a place
    limited_at     BIGINT NOT NULL DEFAULT 0, -- when it stood in line with nothing else to wait for
    lease_state    TEXT NOT NULL DEFAULT '' CHECK (lease_state = '' OR lease_state = 'offered' OR lease_state = 'held'),
    agent_id       TEXT NOT NULL DEFAULT '', -- who holds or held it
    lease_deadline BIGINT NOT NULL DEFAULT 0,
    agent_reason   TEXT NOT NULL DEFAULT '', -- why that agent of those that matched
    reserved_by    TEXT NOT NULL DEFAULT '', -- the stack that took it to find an agent
    token_hash     TEXT, -- NULL until accepted
    timeout_minutes BIGINT NOT NULL DEFAULT 0,
    timeout_at     BIGINT NOT NULL DEFAULT 0, -- of a running job, or of one that is canceled by force
    soft_failed    BOOLEAN NOT NULL DEFAULT FALSE,
    lost           BOOLEAN NOT NULL DEFAULT FALSE,
    exit_status    BIGINT,
    signal         TEXT NOT NULL DEFAULT '',
    signal_reason  TEXT NOT NULL DEFAULT '',
    promised       BIGINT,
    promised_hard  BOOLEAN NOT NULL DEFAULT FALSE,
    reason         TEXT NOT NULL DEFAULT '',
    canceled_by    TEXT NOT NULL DEFAULT '',
    retried_in     TEXT NOT NULL DEFAULT '', -- '': the latest attempt
    retry_of       TEXT NOT NULL DEFAULT '',
    retry_type     TEXT NOT NULL DEFAULT '', -- how this attempt came to be: manual, automatic
    retry_rule     BIGINT NOT NULL DEFAULT -1, -- the automatic rule that made it
    retries        BIGINT NOT NULL DEFAULT 0, -- attempts before this one
    retried_by     TEXT NOT NULL DEFAULT '',
    triggered_build TEXT NOT NULL DEFAULT '',
    unblocked_by   TEXT NOT NULL DEFAULT '',
    chunks_failed  BIGINT NOT NULL DEFAULT 0,
    log_size       BIGINT NOT NULL DEFAULT 0, -- bytes, set when the job ends
    spec           TEXT NOT NULL, -- label, command, env, plugins, matrix, JSON
    created_at     BIGINT NOT NULL,
    scheduled_at   BIGINT NOT NULL DEFAULT 0,
    runnable_at    BIGINT NOT NULL DEFAULT 0,
    started_at     BIGINT NOT NULL DEFAULT 0,
    finished_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX jobs_step ON jobs (step_id, number);
CREATE INDEX jobs_build ON jobs (build_id, position, number);
CREATE INDEX jobs_retried ON jobs (build_id) WHERE retried_in <> '';
CREATE UNIQUE INDEX jobs_token ON jobs (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX jobs_lanes ON jobs (queue_id, lane, (0 - priority), scheduled_at, position, id)
    WHERE state = 'scheduled' AND kind = 'script';
CREATE INDEX jobs_scheduled ON jobs (queue_id, (0 - priority), scheduled_at, position, id)
    WHERE state = 'scheduled' AND kind = 'script' AND position >= ''; -- as agents_idle
-- One live lease an agent, whatever the code does.
CREATE UNIQUE INDEX jobs_held ON jobs (agent_id)
    WHERE (state = 'assigned' OR state = 'accepted' OR state = 'running' OR state = 'canceling'
        OR state = 'timing_out') AND agent_id <> '';
CREATE INDEX jobs_of_agent ON jobs (agent_id, finished_at) WHERE finished_at > 0 AND agent_id <> '';
-- What fleet tools count every few seconds and what waits too long: as many rows as there are open jobs, however many have
-- ended. No column of it changes before a job ends.
CREATE INDEX jobs_open ON jobs (created_at) WHERE finished_at = 0;
CREATE INDEX jobs_offers ON jobs (lease_deadline) WHERE lease_state = 'offered' OR state = 'reserved';
CREATE INDEX jobs_timeouts ON jobs (timeout_at) WHERE state IN ('running', 'canceling') AND timeout_at > 0;
CREATE INDEX jobs_holders ON jobs (group_id)
    WHERE group_id <> '' AND (state = 'scheduled' OR state = 'reserved' OR state = 'assigned' OR state = 'accepted'
        OR state = 'running' OR state = 'canceling' OR state = 'timing_out');
CREATE INDEX jobs_line ON jobs (group_id, scheduled_at, build_id, position, number) WHERE queued;
CREATE INDEX jobs_line_limits ON jobs (group_id, concurrency) WHERE queued;
CREATE INDEX jobs_line_eager ON jobs (group_id, (0 - priority), scheduled_at, build_id, position, number)
    WHERE queued AND concurrency_method = 'eager' AND state = 'limited';
CREATE INDEX jobs_unqueued ON jobs (build_id) WHERE group_id <> '' AND state = 'waiting' AND NOT queued;
CREATE INDEX jobs_triggers ON jobs (scheduled_at)
    WHERE kind = 'trigger' AND (state = 'scheduled' OR state = 'running' OR state = 'canceling');

-- Where a forge delivers its events for a pipeline: the token of the address, whose text is sealed. What it
-- signs with is sealed too.
CREATE TABLE webhooks (
    pipeline_id TEXT PRIMARY KEY REFERENCES pipelines (id),
    token_hash  TEXT NOT NULL UNIQUE,
    signed      BOOLEAN NOT NULL DEFAULT FALSE, -- deliveries must bear a signature
    disabled_at BIGINT NOT NULL DEFAULT 0,
    disabled_by TEXT NOT NULL DEFAULT '',
    created_at  BIGINT NOT NULL
);

-- What arrived for a pipeline and what became of it: a bounded log, by which a repeated delivery is known.
CREATE TABLE deliveries (
    id          TEXT PRIMARY KEY,
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    key         TEXT NOT NULL, -- the sender's id of the delivery
    source      TEXT NOT NULL CHECK (source IN ('webhook', 'pipeline_trigger', 'schedule')),
    event       TEXT NOT NULL,
    subject     TEXT NOT NULL, -- what it is about, e.g. a branch
    outcome     TEXT NOT NULL CHECK (outcome IN ('built', 'canceled', 'ignored', 'refused')),
    reason      TEXT NOT NULL,
    builds      TEXT NOT NULL, -- JSON list of the numbers of the builds made or canceled
    created_at  BIGINT NOT NULL,
    UNIQUE (pipeline_id, key)
);
CREATE INDEX deliveries_recent ON deliveries (pipeline_id, created_at, id);

-- Addresses that make builds for whoever has one. Their tokens are shown once.
CREATE TABLE pipeline_triggers (
    id          TEXT PRIMARY KEY,
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    token_hash  TEXT NOT NULL UNIQUE,
    label       TEXT NOT NULL,
    signed      BOOLEAN NOT NULL DEFAULT FALSE, -- requests must bear a signature
    branch      TEXT NOT NULL, -- '': the pipeline's default branch
    commit_sha  TEXT NOT NULL,
    message     TEXT NOT NULL,
    env         TEXT NOT NULL, -- JSON
    enabled     BOOLEAN NOT NULL,
    created_by  TEXT NOT NULL DEFAULT '',
    created_at  BIGINT NOT NULL,
    used_at     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX pipeline_triggers_of ON pipeline_triggers (pipeline_id, created_at);

CREATE TABLE schedules (
    id             TEXT PRIMARY KEY,
    pipeline_id    TEXT NOT NULL REFERENCES pipelines (id),
    label          TEXT NOT NULL,
    cronline       TEXT NOT NULL,
    message        TEXT NOT NULL,
    commit_sha     TEXT NOT NULL,
    branch         TEXT NOT NULL, -- '': the pipeline's default branch
    env            TEXT NOT NULL, -- JSON
    enabled        BOOLEAN NOT NULL,
    next_at        BIGINT NOT NULL, -- when it makes its next build; 0: never
    failed_at      BIGINT NOT NULL DEFAULT 0,
    failed_message TEXT NOT NULL DEFAULT '', -- why its latest build could not be made
    created_by     TEXT NOT NULL DEFAULT '',
    created_at     BIGINT NOT NULL
);
CREATE INDEX schedules_of ON schedules (pipeline_id, created_at);
CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled AND next_at > 0;

-- With what the server writes to a forge, for an organization or for one pipeline. The token is sealed.
CREATE TABLE forge_tokens (
    owner_id        TEXT PRIMARY KEY, -- of the organization or of the pipeline
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    api_url         TEXT NOT NULL,
    updated_by      TEXT NOT NULL DEFAULT '',
    updated_at      BIGINT NOT NULL
);

-- Open pull requests, as the forge last described them.
CREATE TABLE pull_requests (
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    number      TEXT NOT NULL,
    branch      TEXT NOT NULL,
    own         BOOLEAN NOT NULL, -- from the pipeline's own repository
    facts       TEXT NOT NULL, -- JSON
    updated_at  BIGINT NOT NULL, -- by the forge's clock
    PRIMARY KEY (pipeline_id, number)
);
CREATE INDEX pull_requests_branch ON pull_requests (pipeline_id, branch) WHERE own;

-- Commits that pull requests had, as forges told: whose code a commit is stays known when its pull request
-- is closed, whether or not it was built.
CREATE TABLE pull_commits (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    repository      TEXT NOT NULL, -- host and path of the one that it was to be merged into
    number          TEXT NOT NULL, -- of the pull request
    commit_sha      TEXT NOT NULL,
    pipeline_id     TEXT NOT NULL REFERENCES pipelines (id), -- whose webhook told of it
    own             BOOLEAN NOT NULL, -- from a branch of that repository itself
    facts           TEXT NOT NULL, -- JSON: where it came from and who put it there
    heard_at        BIGINT NOT NULL,
    PRIMARY KEY (organization_id, repository, number, commit_sha, pipeline_id)
);
CREATE INDEX pull_commits_commit ON pull_commits (organization_id, repository, commit_sha);

-- What members said about commits of strangers. The latest word about a commit counts.
CREATE TABLE reviews (
    id          TEXT PRIMARY KEY,
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    build_id    TEXT NOT NULL REFERENCES builds (id), -- that it was said of
    commit_sha  TEXT NOT NULL,
    refused     BOOLEAN NOT NULL,
    user_id     TEXT NOT NULL,
    user_name   TEXT NOT NULL,
    note        TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX reviews_commit ON reviews (pipeline_id, commit_sha, created_at, id);

-- What stacks say of the jobs that they find agents for.
CREATE TABLE stack_notes (
    id         TEXT PRIMARY KEY,
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    detail     TEXT NOT NULL,
    noted_at   BIGINT NOT NULL
);
CREATE INDEX stack_notes_job ON stack_notes (job_id, noted_at);

-- Changes of steps that were made, by the idempotency key of the agent's call.
CREATE TABLE step_updates (
    step_id TEXT NOT NULL REFERENCES steps (id),
    uuid    TEXT NOT NULL,
    PRIMARY KEY (step_id, uuid)
);

-- The lock of each concurrency group that has ever been used, and whether a job of it may be let go.
CREATE TABLE concurrency_groups (
    id  TEXT PRIMARY KEY, -- organization and name
    due BIGINT NOT NULL -- changes since it was last looked at
);
CREATE INDEX concurrency_groups_due ON concurrency_groups (id) WHERE due > 0;

CREATE TABLE meta_data (
    build_id TEXT NOT NULL REFERENCES builds (id),
    key      TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (build_id, key)
);

-- Bytes of keys and values of a build's meta-data.
CREATE TABLE build_usage (
    build_id  TEXT PRIMARY KEY REFERENCES builds (id),
    meta_data BIGINT NOT NULL
);

CREATE TABLE annotations (
    id         TEXT PRIMARY KEY,
    build_id   TEXT NOT NULL REFERENCES builds (id),
    job_id     TEXT NOT NULL, -- '' for the scope of the build
    context    TEXT NOT NULL,
    style      TEXT NOT NULL,
    priority   BIGINT NOT NULL,
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (build_id, job_id, context)
);

CREATE TABLE artifacts (
    id                 TEXT PRIMARY KEY,
    build_id           TEXT NOT NULL REFERENCES builds (id),
    job_id             TEXT NOT NULL REFERENCES jobs (id),
    pipeline_id        TEXT NOT NULL REFERENCES pipelines (id),
    batch_id           TEXT NOT NULL, -- idempotency key of the agent's call
    number             BIGINT NOT NULL, -- place in the batch
    path               TEXT NOT NULL,
    absolute_path      TEXT NOT NULL,
    glob_path          TEXT NOT NULL,
    size               BIGINT NOT NULL,
    sha1               TEXT NOT NULL,
    sha256             TEXT NOT NULL,
    content_type       TEXT NOT NULL,
    upload_destination TEXT NOT NULL,
    url                TEXT NOT NULL, -- of custom destinations
    state              TEXT NOT NULL CHECK (state IN ('new', 'finished', 'error', 'deleted', 'expired')),
    upload             TEXT NOT NULL DEFAULT '', -- the object store's name of an upload under way
    blob               TEXT NOT NULL DEFAULT '', -- key of its bytes, once the server has received and checked them
    created_at         BIGINT NOT NULL,
    UNIQUE (job_id, batch_id, number)
);
CREATE INDEX artifacts_build ON artifacts (build_id, path);
CREATE INDEX artifacts_blob ON artifacts (blob) WHERE blob <> '';
CREATE INDEX artifacts_age ON artifacts (pipeline_id, created_at) WHERE state IN ('new', 'finished', 'error');
CREATE INDEX artifacts_open ON artifacts (created_at) WHERE state = 'new';

-- What artifacts and caches with the same bytes share. Bytes that nobody refers to are dead: they are not
-- referred to again, and go.
CREATE TABLE blobs (
    key        TEXT PRIMARY KEY,
    sha256     TEXT NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    dead_at    BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX blobs_content ON blobs (sha256, size) WHERE dead_at = 0;
CREATE INDEX blobs_dead ON blobs (dead_at) WHERE dead_at > 0;

-- Caches that jobs saved. An address is a sum over all that must be equal for an entry to be found: cluster,
-- registry, kind of store, whose builds may read it, paths, and the whole key; a prefix is over its first parts.
CREATE TABLE cache_entries (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    job_id          TEXT NOT NULL REFERENCES jobs (id), -- that saved it
    store           TEXT NOT NULL CHECK (store IN ('agent_managed', 'server')),
    address         TEXT NOT NULL,
    spec            TEXT NOT NULL, -- JSON
    size            BIGINT NOT NULL,
    blob            TEXT NOT NULL DEFAULT '', -- key of its bytes, once the server has received and checked them
    created_at      BIGINT NOT NULL,
    committed_at    BIGINT NOT NULL DEFAULT 0, -- 0: nobody finds it yet
    used_at         BIGINT NOT NULL
);
CREATE UNIQUE INDEX cache_entries_address ON cache_entries (address) WHERE committed_at > 0;
CREATE INDEX cache_entries_used ON cache_entries (organization_id, used_at);
CREATE INDEX cache_entries_kind ON cache_entries (organization_id, store, used_at);
CREATE INDEX cache_entries_open ON cache_entries (created_at) WHERE committed_at = 0;
CREATE INDEX cache_entries_blob ON cache_entries (blob) WHERE blob <> '';
CREATE TABLE cache_prefixes (
    entry_id     TEXT NOT NULL REFERENCES cache_entries (id),
    prefix       TEXT NOT NULL,
    committed_at BIGINT NOT NULL DEFAULT 0, -- of the entry
    PRIMARY KEY (entry_id, prefix)
);
CREATE INDEX cache_prefixes_saved ON cache_prefixes (prefix, committed_at) WHERE committed_at > 0;

-- An organization's caches, those that nobody finds yet too, and their bytes in the server's own storage.
CREATE TABLE cache_usage (
    organization_id TEXT PRIMARY KEY REFERENCES organizations (id),
    entries         BIGINT NOT NULL,
    bytes           BIGINT NOT NULL
);

-- Bytes of an organization's artifacts in the server's own storage, each counted as if it shared nothing.
CREATE TABLE artifact_usage (
    organization_id TEXT PRIMARY KEY REFERENCES organizations (id),
    bytes           BIGINT NOT NULL
);

CREATE TABLE uploads (
    job_id     TEXT NOT NULL REFERENCES jobs (id),
    uuid       TEXT NOT NULL, -- idempotency key of the agent's call
    build_id   TEXT NOT NULL REFERENCES builds (id),
    state      TEXT NOT NULL CHECK (state IN ('pending', 'applied', 'rejected')),
    message    TEXT NOT NULL,
    jobs       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Of a pending one alone.
    document   TEXT NOT NULL DEFAULT '',
    replaces   BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (job_id, uuid)
);
CREATE INDEX uploads_pending ON uploads (created_at) WHERE state = 'pending';

-- External effects, at least once. A row is claimed by moving next_at and deleted when done.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    target     TEXT NOT NULL, -- what it is about; rows of one kind and target coalesce
    lane       TEXT NOT NULL, -- host or service; a lane that hangs holds no other up
    payload    TEXT NOT NULL,
    attempts   BIGINT NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    UNIQUE (kind, target)
);
CREATE INDEX outbox_due ON outbox (lane, next_at);

-- What the database alone cannot tell: values sealed with a key that is kept elsewhere. place is the
-- kind and the id of what a value belongs to, and bound to it.
CREATE TABLE sealed_values (
    place      TEXT PRIMARY KEY,
    key_id     TEXT NOT NULL,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE teams (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    slug            TEXT NOT NULL,
    name            TEXT NOT NULL,
    description     TEXT NOT NULL,
    settings        TEXT NOT NULL, -- JSON of what clients set and read back
    created_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    UNIQUE (organization_id, slug)
);

CREATE TABLE team_members (
    team_id    TEXT NOT NULL REFERENCES teams (id),
    user_id    TEXT NOT NULL REFERENCES users (id),
    role       TEXT NOT NULL CHECK (role IN ('member', 'maintainer')),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_members_user ON team_members (user_id);

CREATE TABLE team_pipelines (
    team_id     TEXT NOT NULL REFERENCES teams (id),
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    access      TEXT NOT NULL CHECK (access IN ('read_only', 'build_and_read', 'manage_build_and_read')),
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (team_id, pipeline_id)
);
CREATE INDEX team_pipelines_pipeline ON team_pipelines (pipeline_id);

-- Whom an organization tells of its builds beside what pipelines say. Addresses and tokens are sealed,
-- in the place service/<id>.
CREATE TABLE services (
    id              TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    provider        TEXT NOT NULL CHECK (provider IN ('webhook', 'slack')),
    description     TEXT NOT NULL,
    enabled         BOOLEAN NOT NULL,
    spec            TEXT NOT NULL, -- JSON: scope, branches, events, states
    created_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE INDEX services_organization ON services (organization_id, created_at);

-- What has become of the log of a job that an agent ran.
CREATE TABLE job_logs (
    job_id      TEXT PRIMARY KEY,
    pipeline_id TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state = 'ending' OR state = 'closed' OR state = 'deleted' OR state = 'expired'),
    note        TEXT NOT NULL DEFAULT '', -- why it is gone
    changed_at  BIGINT NOT NULL
);
CREATE INDEX job_logs_ending ON job_logs (changed_at) WHERE state = 'ending';
CREATE INDEX job_logs_closed ON job_logs (changed_at) WHERE state = 'closed';
-- When groups of a log began, where the log itself does not say.
CREATE TABLE header_times (
    job_id TEXT NOT NULL,
    number BIGINT NOT NULL, -- of the group, from 0
    at     BIGINT NOT NULL,
    PRIMARY KEY (job_id, number)
);

-- Logs of jobs, where several servers share a database: the bytes that one server would append to a file. The first kept of them
-- are in blobs, the rest, and all of small logs, in records. A generation is a log's name among blobs, so that one begun anew is not taken for the old one.
CREATE TABLE logs (
    job_id     TEXT PRIMARY KEY,
    generation TEXT NOT NULL, -- random, so that no two are equal
    length     BIGINT NOT NULL,
    kept       BIGINT NOT NULL,
    ended      BOOLEAN NOT NULL
);
CREATE INDEX logs_to_keep ON logs ((length - kept)) WHERE kept < length;
CREATE TABLE log_records (
    generation TEXT NOT NULL,
    position   BIGINT NOT NULL,
    length     BIGINT NOT NULL,
    bytes      BYTEA NOT NULL,
    PRIMARY KEY (generation, position)
);
CREATE TABLE log_parts (
    generation TEXT NOT NULL,
    position   BIGINT NOT NULL,
    length     BIGINT NOT NULL,
    PRIMARY KEY (generation, position)
);
-- Deleted logs whose blobs are still there.
CREATE TABLE log_trash (generation TEXT PRIMARY KEY);

-- Keys that sign the identity tokens of jobs. The private halves are in sealed_values.
CREATE TABLE oidc_keys (
    id         TEXT PRIMARY KEY,
    public_key TEXT NOT NULL, -- JWK, JSON
    created_at BIGINT NOT NULL
);

-- Secrets of jobs. The values are in sealed_values.
CREATE TABLE secrets (
    id           TEXT PRIMARY KEY,
    cluster_id   TEXT NOT NULL REFERENCES clusters (id),
    key          TEXT NOT NULL,
    description  TEXT NOT NULL,
    policy       TEXT NOT NULL, -- YAML, '': every job of the cluster
    created_by   TEXT NOT NULL,
    updated_by   TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    last_read_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX secrets_key ON secrets (cluster_id, LOWER(key));

-- The object among blobs by which a server knows that it has the storage that the others use.
CREATE TABLE storage_mark (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
);
