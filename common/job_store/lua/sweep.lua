-- @include args
-- @include full_memory
-- @include archive
-- @include attempt
-- @include clock
-- @include dequeue
--[[
  Does everything that is due in one partition. Idempotent: any number of workers may run it.

  Input:
    KEYS[1]  the partition's leases
    args     allowed (states from which a job is requeued), limit (jobs of each kind), lifetimes (as
             Limits.lifetimes), lease (ms), error (message for a lost worker), reclaim_until (ms:
             every lease counts as live in a script that runs later, because the store was
             unavailable or its clock jumped), max_gap (ms since the caller's last sweep at most, if
             known), dead (comma-separated names of workers that died), dead_after (ms since such a
             worker extended a lease, at least), max_wait (ms in one priority's queue), lost_after (ms
             by which later wake-ups must have overtaken one for it to count as lost), read_up_to_high,
             read_up_to_normal, read_up_to_low (ms: every wake-up sent before has been read from the
             broker's queue)
  Output:
    {'SWEPT', recovered, failed, promoted, expired, resent,
     this partition's read_up_to_high, read_up_to_normal, read_up_to_low, wake-ups…}
  Event:
    those of each job's change
]]

-- Retracting a message may scan the whole queue, which takes a millisecond with 10,000 messages.
local MAX_BOOSTS = 10
-- Milliseconds until a job runs again that was lost with its worker for the second time, doubled
-- with each further loss. It may be what kills the workers.
local LOSS_BACKOFF = 2000
-- Entries of the state log that one group has read and not acknowledged; normally a few hundred.
local MAX_PENDING = 1000

local PRIORITIES = {'high', 'normal', 'low'}

local recovered, failed, promoted, expired, resent = 0, 0, 0, 0, 0
local read_up_to = redis.call('HMGET', key.read_up_to(), unpack(PRIORITIES))

local function due(name, latest, limit)
  return redis.call('ZRANGE', name, '-inf', latest, 'BYSCORE', 'LIMIT', 0, limit or args.limit)
end

-- A job that is not processing has a lease only if a script was aborted half-way, as a slot migration
-- of a cluster does.
local function remove_lease(id, job)
  local is_lost = job and job.status == 'queued' and not redis.call('ZSCORE', key.retries(), id)
    and not redis.call('ZSCORE', key.waiting(job.lane), id)
  if is_lost then enqueue(id, line_of(job), job.lane) end
  redis.call('ZREM', key.leases(), id)
end

local function reclaim(id)
  local job = load_job(id)
  if not job or not contains(args.allowed, job.status) then return remove_lease(id, job) end
  local losses = tonumber(job.losses or '0') + 1
  local changes = {
    error = args.error, error_code = 'WORKER_LOST', retryable = '1', losses = to_text(losses),
  }
  record_attempt(job, changes)
  if tonumber(job.attempt) < tonumber(job.max_attempts) then
    requeue(job, changes, losses > 1 and LOSS_BACKOFF * 2 ^ math.min(losses - 2, 5) or 0)
    recovered = recovered + 1
  else
    fail(job, changes)
    failed = failed + 1
  end
end

local function promote(id)
  redis.call('ZREM', key.retries(), id)
  local job = load_job(id)
  if job and job.status == 'queued' then
    enqueue(id, line_of(job), job.lane)
    promoted = promoted + 1
  end
end

local function expire(id)
  redis.call('ZREM', key.expiring(), id)
  local job = load_job(id)
  if job and job.status == 'completed' then
    -- Otherwise, the storage deletes the archive by its age.
    if job.expires_in then schedule_removal(job) end
    update_job(job, {status = 'expired'})
    redis.call('PEXPIRE', key.status(id), args.job_ttl, 'GT')
    redis.call('PEXPIRE', key.user_jobs(job.user), args.job_ttl, 'GT')
    expired = expired + 1
  end
end

-- Returns the milliseconds by which the server's clock was set back since the last note. It is less
-- than the truth by at most CLOCK_NOTE_INTERVAL.
local function clock_set_back()
  local back = noted_time() - now
  -- Otherwise, the next sweep would correct the same times again.
  if back > CLOCK_TOLERANCE or -back > CLOCK_NOTE_INTERVAL then note_time() end
  return back
end

-- Restarts the idle time of entries that were read from the state log and not acknowledged. Otherwise no
-- consumer could claim those of a dead one, or those whose response was lost, until the clock catches up.
local function correct_pending_entries(back)
  -- They have been idle for a negative time.
  local min_idle = to_text(-back - CLOCK_NOTE_INTERVAL)
  local state_log = key.state_log()
  if redis.call('EXISTS', state_log) == 0 then return end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', state_log)) do
    local name = group[2]
    for _, entry in ipairs(redis.call('XPENDING', state_log, name, '-', '+', MAX_PENDING)) do
      redis.call('XCLAIM', state_log, name, entry[2], min_idle, entry[1], 'JUSTID')
    end
  end
end

-- Makes leases end soon that were stored by a wrong clock. A living worker extends them before.
local function correct_leases()
  local lease = tonumber(args.lease)
  local function replace(first, last, ends_in)
    for _, id in ipairs(redis.call('ZRANGE', key.leases(), first, last, 'BYSCORE')) do
      redis.call('ZADD', key.leases(), to_text(now + ends_in), id)
    end
  end
  -- The clock was set back since.
  replace('(' .. to_text(now + 2 * lease), '+inf', lease)
  -- The clock was set back meanwhile, and has caught up: the last sweep would have seen these
  -- expire.
  if args.max_gap then replace('-inf', '(' .. to_text(now - tonumber(args.max_gap)), lease / 2) end
end

-- A delivery that waits has the same time in its hash: a replay takes any other for an attempt in
-- progress.
local function correct_delivery(kind, member, old, new)
  local id, version = string.match(member, '^(.+):(%d+)$')
  local name = key.delivery(kind, id, version)
  if redis.call('HGET', name, 'next_at') == old then redis.call('HSET', name, 'next_at', new) end
end

-- Subtracts the difference from the times in a sorted set; `kind`: of its deliveries.
local function correct_scores(name, back, kind)
  local scored = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  for i = 1, #scored, 2 do
    local member, old = scored[i], tonumber(scored[i + 1])
    redis.call('ZADD', name, to_text(old - back), member)
    if kind then correct_delivery(kind, member, to_text(old), to_text(old - back)) end
  end
end

-- After the server's clock was set back, some times lie in the future. They would stay there for as
-- long as the clock was wrong.
local function correct_future_times()
  local back = clock_set_back()
  if back > CLOCK_TOLERANCE then
    correct_pending_entries(back)
    for _, name in ipairs({key.retries(), key.expiring(), key.removals()}) do
      correct_scores(name, back)
    end
    for _, kind in ipairs({'webhook', 'email'}) do
      correct_scores(key.deliveries_due(kind), back, kind)
    end
  end
  local future = '(' .. to_text(now + CLOCK_TOLERANCE)
  for i, priority in ipairs(PRIORITIES) do
    local sent = key.wake_ups_sent(priority)
    for _, id in ipairs(redis.call(
      'ZRANGE', sent, future, '+inf', 'BYSCORE', 'LIMIT', 0, args.limit)) do
      redis.call('ZADD', sent, now_text, id)
    end
    if tonumber(read_up_to[i] or '0') > now + CLOCK_TOLERANCE then
      redis.call('HDEL', key.read_up_to(), priority)
      read_up_to[i] = '0'
    end
  end
end

-- The broker's queues are first in, first out: when a later wake-up has been read, an earlier one
-- is lost.
local function resend_lost_wake_ups(priority)
  local all_read_up_to = tonumber(args['read_up_to_' .. priority])
  if all_read_up_to > now + CLOCK_TOLERANCE then return end
  local latest = all_read_up_to - tonumber(args.lost_after)
  for _, id in ipairs(due(key.wake_ups_sent(priority), to_text(latest))) do
    send_wake_up(id, priority)
    resent = resent + 1
  end
end

-- Moves jobs that have waited long to the next higher priority, so that none starves.
local function boost(priority, higher)
  local latest = to_text(now - tonumber(args.max_wait))
  for _, id in ipairs(due(key.waiting(priority), latest, MAX_BOOSTS)) do
    local stored = redis.call('HMGET', key.status(id), 'user', 'line')
    local line = stored[2] or stored[1]
    retract_wake_up(id, priority)
    dequeue(id, line, priority)
    redis.call('HSET', key.status(id), 'lane', higher)
    enqueue(id, line, higher)
  end
end

-- Takes jobs from workers that are known to be dead without waiting for their leases to expire. A worker
-- that still extends them has lost only its connection to the registry.
local function reclaim_from_dead_workers()
  local latest = now + tonumber(args.lease) - tonumber(args.dead_after)
  for _, id in ipairs(redis.call('ZRANGE', key.leases(), '-inf', to_text(latest), 'BYSCORE')) do
    local worker = redis.call('HGET', key.status(id), 'worker') or ''
    if contains(args.dead, worker) then reclaim(id) end
  end
end

correct_leases()
correct_future_times()
if not args.reclaim_until or now <= tonumber(args.reclaim_until) then
  if args.dead then reclaim_from_dead_workers() end
  for _, id in ipairs(due(key.leases(), now_text)) do reclaim(id) end
end
for _, id in ipairs(due(key.expiring(), now_text)) do expire(id) end
-- While the queue is paused no job may start, so no wake-up is sent either.
if redis.call('EXISTS', key.paused()) == 0 then
  for _, id in ipairs(due(key.retries(), now_text)) do promote(id) end
  for _, priority in ipairs(PRIORITIES) do resend_lost_wake_ups(priority) end
  boost('normal', 'high')
  boost('low', 'normal')
end
return {
  'SWEPT', to_text(recovered), to_text(failed), to_text(promoted), to_text(expired),
  to_text(resent), read_up_to[1] or '0', read_up_to[2] or '0', read_up_to[3] or '0',
  unpack(wake_ups),
}
