-- @include change
-- @include hint
-- queued → processing: a new attempt under a new fencing token and a lease.
-- Input: args.id, worker, claim (unique to this call), lease (ms), allowed; lane and sent (ms) of
--        the wake-up that led here, where there was one
-- Output: {'CLAIMED', snapshot, spec, hints…}, {'REFUSED'} when the job is not waiting to be run
--         or the queue is paused: its hint is sent again after the pause
-- Event: version + 1, journal; the user's next job in line is hinted.

-- Read is read, even if it comes to nothing: what was sent before this wake-up has been read too.
if args.sent then
  local reached = redis.call('HGET', key.reached(), args.priority) or '0'
  if tonumber(args.sent) > tonumber(reached) then
    redis.call('HSET', key.reached(), args.priority, args.sent)
  end
end

local job = load(args.id)
-- The client library sends again when an answer is lost: the lease is this caller's already.
if job and job.status == 'processing' and job.claim == args.claim then
  return {'CLAIMED', cjson.encode(job), redis.call('GET', key.spec(args.id))}
end
if not job or not among(job.status, args.allowed) then return {'REFUSED'} end
if redis.call('ZSCORE', key.retries(), args.id) then return {'REFUSED'} end
if redis.call('EXISTS', key.paused()) == 1 then return {'REFUSED'} end

redis.call('ZADD', key.leases(), text(now + tonumber(args.lease)), args.id)
local snapshot = change(args.id, {
  status = 'processing',
  attempt = text((job.attempt or 0) + 1),
  fence = text((job.fence or 0) + 1),
  attempt_at = moment,
  started_at = (job.started_at or '') ~= '' and job.started_at or moment,
  worker = args.worker,
  claim = args.claim,
  retry_at = '', error = '', error_code = '', retryable = '',
  progress = '0', processed_files = '0', processed_bytes = '0', seconds_remaining = '',
})
step_back(args.id, job.user, job.lane)
return {'CLAIMED', snapshot, redis.call('GET', key.spec(args.id)), unpack(hints)}
