-- @include args
-- @include bytes
-- @include clock
-- @include update
--[[
  enter_terminal_state(job, changes): ends a job and returns the new snapshot. Removes everything
  that belongs to a running job and sets the expiry of what is kept.

  Input:
    changes.status             the terminal state
    args.job_ttl, archive_ttl, idempotency_ttl  ms
  Event:
    as update_job
]]

-- Finished jobs that a user's list keeps.
local MAX_USER_JOBS = 1000
local MAX_FAILURES = 50
local MAX_DURATIONS = 200
local MAX_RUNS = 32

-- Counts the archive in changes.artifact. A job that completes again, after a restart, counts only
-- what it has more than before.
local function count_bytes(job, changes)
  local size, counted = cjson.decode(changes.artifact).size, tonumber(job.counted_bytes or '0')
  if size <= counted then return end
  changes.counted_bytes = to_text(size)
  redis.call('INCRBY', bytes_key(job.user), to_text(size - counted))
  redis.call('PEXPIRE', bytes_key(job.user), 2 * DAY)
end

-- Prepends to a list that keeps `max` values, for `ttl` ms.
local function push(list, value, max, ttl)
  if redis.call('LPUSH', list, value) > max then redis.call('LTRIM', list, 0, max - 1) end
  redis.call('PEXPIRE', list, ttl)
end

local function enter_terminal_state(job, changes)
  local id, user, state = job.id, job.user, changes.status
  changes.completed_at = now_text
  changes.retry_at = ''
  changes.seconds_remaining = ''
  if job.status == 'queued' then redis.call('ZREM', key.retries(), id) end
  local stored_by_digest = redis.call('HGET', key.user_active(user), job.digest) == id
  redis.call('HDEL', key.user_active(user), stored_by_digest and job.digest or id)
  redis.call('ZREMRANGEBYRANK', key.user_jobs(user), 0, -1 - MAX_USER_JOBS)
  local max_ttl = to_text(tonumber(args.job_ttl) + tonumber(args.archive_ttl))
  if redis.call('EXISTS', key.user_active(user)) == 0 then
    redis.call('PEXPIRE', key.user_jobs(user), max_ttl)
  end
  redis.call('HINCRBY', key.totals(), state, 1)
  if state == 'failed' then
    redis.call('ZADD', key.failures(), now_text, id)
    redis.call('ZREMRANGEBYRANK', key.failures(), 0, -1 - MAX_FAILURES)
    redis.call('PEXPIRE', key.failures(), max_ttl)
  end
  local ttl = tonumber(args.job_ttl)
  if state == 'completed' then
    local available_for = tonumber(job.expires_in or args.archive_ttl)
    changes.expires_at = to_text(now + available_for)
    ttl = ttl + available_for
    redis.call('ZADD', key.expiring(), to_text(time_for_scores() + available_for), id)
    note_time_if_due()
    if job.plan then count_bytes(job, changes) end
    local began = job.restarted_at or job.created_at
    push(key.durations(), to_text(now - tonumber(began)), MAX_DURATIONS, max_ttl)
    local run = to_text(now - tonumber(job.started_at))
    push(key.runs(), job.total_files .. ' ' .. run, MAX_RUNS, max_ttl)
  end
  local snapshot = update_job(job, changes)
  if job.idempotent == '1' then
    -- A repeated request has to find the job. The latest key may be that of a request that came later
    -- than the first one.
    local since = tonumber(job.idempotent_at or job.created_at)
    ttl = math.max(ttl, since + tonumber(args.idempotency_ttl) - now)
  end
  for _, name in ipairs({key.status(id), key.spec(id), key.files(id), key.attempts(id)}) do
    redis.call('PEXPIRE', name, to_text(ttl))
  end
  redis.call('ZREM', key.leases(), id) -- Last, as in requeue.
  return snapshot
end
