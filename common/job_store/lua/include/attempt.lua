-- @include settle
-- @include hint
-- An attempt ended without an archive.
-- note_attempt(job): keeps its history, for dead letters.
-- back_to_queue(job, fields, delay): processing → queued, ready after `delay` milliseconds.
-- fail_for_good(job, fields): processing → failed; a retryable failure leaves a dead letter.

local MAX_NOTED = 50

local function note_attempt(job, set)
  redis.call('RPUSH', key.attempts(job.id), cjson.encode({
    attempt = job.attempt, worker = job.worker or '', startedAt = job.attempt_at or '',
    endedAt = moment, errorCode = set.error_code or '', error = set.error or '',
  }))
  redis.call('LTRIM', key.attempts(job.id), -MAX_NOTED, -1)
end

local function back_to_queue(job, set, delay)
  redis.call('ZREM', key.leases(), job.id)
  set.status = 'queued'
  set.worker = ''
  set.seconds_remaining = ''
  set.retry_at = ''
  if delay > 0 then
    set.retry_at = text(now + delay)
    redis.call('ZADD', key.retries(), set.retry_at, job.id)
  end
  local snapshot = change(job.id, set)
  if delay <= 0 then hint(job.id, job.user, job.lane) end
  return snapshot
end

local function fail_for_good(job, set)
  set.status = 'failed'
  if set.retryable == '1' then redis.call('ZADD', key.dead_letters(), moment, job.id) end
  return settle(job, set)
end
