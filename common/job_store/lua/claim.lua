-- @include args
-- @include full_memory
-- @include clock
-- @include update
-- @include dequeue
--[[
  Starts an attempt: queued → processing, with a new fencing token and a lease.

  Input:
    KEYS[1]  the job's status
    args     id, worker, claim (unique to this call), lease (ms), allowed (states); priority and
             sent (ms) of the wake-up that led here, if there was one; alone, if the worker runs no
             other job and starts none; reservation (ms)
  Output:
    {'CLAIMED', snapshot, spec, wake-ups…}
    {'REJECTED'}  the job does not wait to be run, or the queue is paused; then the wake-up is sent
                  again after the pause
    {'ALONE', reservations so far, wake-ups…}  the job was lost repeatedly and may be what kills its
                  workers. It waits for the caller to be alone, and after the reservation for any worker
  Event:
    version + 1, state log; the wake-up of the user's next job
]]

-- A rejected wake-up was still read from its queue, so every wake-up sent before it was read as
-- well. A time in the future, from before the server's clock was set back, says nothing.
if args.sent and tonumber(args.sent) <= now then
  local read_up_to = redis.call('HGET', key.read_up_to(), args.priority) or '0'
  if tonumber(args.sent) > tonumber(read_up_to) then
    local is_new = redis.call('HSET', key.read_up_to(), args.priority, args.sent) == 1
    if is_new then redis.call('PEXPIRE', key.read_up_to(), 86400000) end
  end
end

-- By the clock, so that no token is used again after a failover that forgot a claim. Where the clock
-- was set back behind the last token, the current time still makes the tokens of two claims differ.
local function next_token(last)
  if now > last then return now end
  return last + 1 + now % 1000000
end

-- After more losses than this, a job counts as a poison job and runs alone.
local MAX_SHARED_LOSSES = 1

local job = load_job(args.id)
-- The client library sends a command again when it misses the response: the caller has the lease.
if job and job.status == 'processing' and job.claim == args.claim then
  return {'CLAIMED', cjson.encode(job), redis.call('GET', key.spec(args.id))}
end
if not job or not contains(args.allowed, job.status) then return {'REJECTED'} end
if redis.call('EXISTS', key.paused()) == 1 then return {'REJECTED'} end
local runs_alone = tonumber(job.losses or '0') > MAX_SHARED_LOSSES
-- A worker that the job is reserved for claims it without a wake-up.
local is_reserved = runs_alone and not args.sent
if not is_reserved and redis.call('ZSCORE', key.retries(), args.id) then return {'REJECTED'} end
if runs_alone and not args.alone then
  redis.call('ZADD', key.retries(), to_text(now + tonumber(args.reservation)), args.id)
  note_time_if_due()
  dequeue(args.id, line_of(job), job.lane)
  local reservations = job.reservations or '0'
  if not is_reserved then
    reservations = to_text(redis.call('HINCRBY', key.status(args.id), 'reservations', 1))
  end
  return {'ALONE', reservations, unpack(wake_ups)}
end
if is_reserved then redis.call('ZREM', key.retries(), args.id) end
if runs_alone then
  redis.call('HDEL', key.status(args.id), 'reservations')
  job.reservations = nil
end

redis.call('ZADD', key.leases(), to_text(now + tonumber(args.lease)), args.id)
local changes = {
  status = 'processing',
  attempt = to_text((job.attempt or 0) + 1),
  fence = to_text(next_token(tonumber(job.fence or '0'))),
  attempt_at = now_text,
  started_at = (job.started_at or '') ~= '' and job.started_at or now_text,
  worker = args.worker,
  claim = args.claim,
  retry_at = '', error = '', error_code = '', retryable = '', seconds_remaining = '', resumes = '',
  reason = '',
}
-- An attempt whose job was returned to the queue goes on: its progress never goes back.
if job.resumes ~= '1' then
  changes.progress, changes.processed_files, changes.processed_bytes = '0', '0', '0'
end
redis.call('HINCRBY', key.totals(), 'started_' .. job.lane, 1)
local snapshot = update_job(job, changes)
dequeue(args.id, line_of(job), job.lane)
return {'CLAIMED', snapshot, redis.call('GET', key.spec(args.id)), unpack(wake_ups)}
