-- @include args
-- @include full_memory
-- @include attempt
-- @include fields
--[[
  Returns a job to the queue: processing → queued, after a retryable failure or because the worker
  shuts down.

  Input:
    KEYS[1]  the job's status
    args     id, fencing_token, allowed (states), delay (ms), counts ('1': the attempt counts);
             postponed, if it does not count because a dependency is unavailable
    fields   error, error_code, retryable; or reason, if the attempt does not count
  Output:
    {'QUEUED', snapshot, wake-ups…}
    {'LOST'}  the lease is no longer the caller's
  Event:
    version + 1, state log; the wake-up if there is no delay
]]

local job = load_job(args.id)
-- The client library sends a command again when it misses the response: the job is queued already.
if job and job.status == 'queued' and job.fence == args.fencing_token then
  return {'QUEUED', cjson.encode(job)}
end
if not job or not contains(args.allowed, job.status) or job.fence ~= args.fencing_token then
  return {'LOST'}
end
if args.counts == '1' then
  record_attempt(job, fields)
else
  fields.attempt = to_text(job.attempt - 1)
  fields.resumes = '1'
  if args.postponed then
    fields.postponed_since = (job.postponed_since or '') ~= '' and job.postponed_since or now_text
  end
end
local snapshot = requeue(job, fields, tonumber(args.delay))
return {'QUEUED', snapshot, unpack(wake_ups)}
