-- @include change
-- settle(job, fields): enter a terminal state: every trace of a job in flight goes, what is kept
-- gets its end. `fields.status` is the state; args.job_ttl and args.archive_ttl are milliseconds.

-- Jobs that a user's list remembers.
local REMEMBERED = 1000

local function settle(job, set)
  local id, user, state = job.id, job.user, set.status
  set.completed_at = moment
  set.retry_at = ''
  set.seconds_remaining = ''
  redis.call('ZREM', key.leases(), id)
  redis.call('ZREM', key.retries(), id)
  local mine = redis.call('HGET', key.user_active(user), job.digest) == id
  redis.call('HDEL', key.user_active(user), mine and job.digest or id)
  redis.call('ZREMRANGEBYRANK', key.user_jobs(user), 0, -1 - REMEMBERED)
  redis.call('HINCRBY', key.totals(), state, 1)
  if state == 'failed' then
    redis.call('ZADD', key.failures(), moment, id)
    redis.call('ZREMRANGEBYRANK', key.failures(), 0, -51)
  end
  local keep = tonumber(args.job_ttl)
  if state == 'completed' then
    set.expires_at = text(now + tonumber(args.archive_ttl))
    keep = keep + tonumber(args.archive_ttl)
    redis.call('ZADD', key.expiring(), set.expires_at, id)
    redis.call('LPUSH', key.durations(), text(now - tonumber(job.created_at)))
    redis.call('LTRIM', key.durations(), 0, 199)
  end
  local snapshot = change(id, set)
  for _, name in ipairs({key.status(id), key.spec(id), key.files(id), key.attempts(id)}) do
    redis.call('PEXPIRE', name, text(keep))
  end
  return snapshot
end
