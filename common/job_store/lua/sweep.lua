-- @include attempt
-- Everything that is due in one partition. Idempotent: any number of workers may call it.
-- Input: args.allowed (states from which a job goes back to the queue), limit (jobs per kind),
--        job_ttl (ms), error (message for a lost worker), reclaim ('0': believe every lease, for
--        the store itself was away), dead (workers that died, by commas), max_wait (ms in one priority),
--        lost_after (ms by which a hint must have been overtaken to count as lost),
--        reached_high, reached_normal, reached_low (ms: what was sent before has been read from
--        the broker's queue)
-- Output: {'SWEPT', recovered, failed, promoted, expired, resent,
--          this partition's reached_high, reached_normal, reached_low, hints…}
-- Event: whatever each job's change brings.

-- Taking a message back may look at the whole queue: a millisecond where ten thousand wait.
local AGED_AT_ONCE = 10

local recovered, failed, promoted, expired, resent = 0, 0, 0, 0, 0

local function due(name, latest, limit)
  return redis.call('ZRANGE', name, '-inf', latest, 'BYSCORE', 'LIMIT', 0, limit or args.limit)
end

local function reclaim(id)
  local job = load(id)
  if not job or not among(job.status, args.allowed) then
    redis.call('ZREM', key.leases(), id)
    return
  end
  local set = {error = args.error, error_code = 'WORKER_LOST', retryable = '1'}
  note_attempt(job, set)
  if tonumber(job.attempt) < tonumber(job.max_attempts) then
    back_to_queue(job, set, 0)
    recovered = recovered + 1
  else
    fail_for_good(job, set)
    failed = failed + 1
  end
end

local function promote(id)
  redis.call('ZREM', key.retries(), id)
  local job = load(id)
  if job and job.status == 'queued' then
    hint(id, job.user, job.lane)
    promoted = promoted + 1
  end
end

local function expire(id)
  redis.call('ZREM', key.expiring(), id)
  local job = load(id)
  if job and job.status == 'completed' then
    change(id, {status = 'expired'})
    redis.call('PEXPIRE', key.status(id), args.job_ttl)
    expired = expired + 1
  end
end

-- The broker's queues are first in, first out: a hint that is older than one already read was
-- overtaken, so its message is gone.
local function resend(priority)
  local latest = tonumber(args['reached_' .. priority]) - tonumber(args.lost_after)
  for _, id in ipairs(due(key.wake_ups_sent(priority), text(latest))) do
    send(id, priority)
    resent = resent + 1
  end
end

-- Jobs that waited long enough move on to the next better priority, so that none starves for ever.
local function age(priority, better)
  for _, id in ipairs(due(key.waiting(priority), text(now - tonumber(args.max_wait)), AGED_AT_ONCE)) do
    local user = redis.call('HGET', key.status(id), 'user')
    retract(id, priority)
    step_back(id, user, priority)
    redis.call('HSET', key.status(id), 'lane', better)
    hint(id, user, better)
  end
end

-- A worker that is known to be dead is not waited for.
local function reclaim_from_the_dead()
  for _, id in ipairs(redis.call('ZRANGE', key.leases(), 0, -1)) do
    if among(redis.call('HGET', key.status(id), 'worker') or '', args.dead) then reclaim(id) end
  end
end

if args.reclaim == '1' then
  if args.dead then reclaim_from_the_dead() end
  for _, id in ipairs(due(key.leases(), moment)) do reclaim(id) end
end
for _, id in ipairs(due(key.expiring(), moment)) do expire(id) end
-- Nobody may begin a job of a paused queue, so nobody is woken either.
if redis.call('EXISTS', key.paused()) == 0 then
  for _, id in ipairs(due(key.retries(), moment)) do promote(id) end
  for _, priority in ipairs({'high', 'normal', 'low'}) do resend(priority) end
  age('normal', 'high')
  age('low', 'normal')
end
local reached = redis.call('HMGET', key.reached(), 'high', 'normal', 'low')
return {
  'SWEPT', text(recovered), text(failed), text(promoted), text(expired), text(resent),
  reached[1] or '0', reached[2] or '0', reached[3] or '0', unpack(hints),
}
