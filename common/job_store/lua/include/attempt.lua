-- @include clock
-- @include terminal
-- @include wake_up
--[[
  How an attempt ends without an archive.

  record_attempt(job, changes): appends the attempt to the job's list, for dead letters
  requeue(job, changes, delay): processing → queued, ready after `delay` ms; returns the snapshot. The
    job is no longer postponed, unless changes.postponed_since says so
  fail(job, changes): processing → failed; a retryable failure becomes a dead letter; returns the
    snapshot
]]

local MAX_ATTEMPTS_KEPT = 50

local function record_attempt(job, changes)
  local kept = redis.call('RPUSH', key.attempts(job.id), cjson.encode({
    attempt = job.attempt, worker = job.worker or '', startedAt = job.attempt_at or '',
    endedAt = now_text, errorCode = changes.error_code or '', error = changes.error or '',
  }))
  if kept > MAX_ATTEMPTS_KEPT then
    redis.call('LTRIM', key.attempts(job.id), -MAX_ATTEMPTS_KEPT, -1)
  end
end

local function requeue(job, changes, delay)
  changes.status = 'queued'
  changes.worker = ''
  changes.seconds_remaining = ''
  changes.retry_at = ''
  changes.postponed_since = changes.postponed_since or ''
  if delay > 0 then
    changes.retry_at = to_text(now + delay)
    redis.call('ZADD', key.retries(), changes.retry_at, job.id)
    note_time_if_due()
  end
  local snapshot = update_job(job, changes)
  if delay <= 0 then enqueue(job.id, line_of(job), job.lane) end
  -- Last: if a slot migration of a cluster aborts this script, the sweeper still finds the job.
  redis.call('ZREM', key.leases(), job.id)
  return snapshot
end

local function fail(job, changes)
  changes.status = 'failed'
  if changes.retryable == '1' then redis.call('ZADD', key.dead_letters(), now_text, job.id) end
  return enter_terminal_state(job, changes)
end
