-- @include args
-- @include full_memory
-- @include attempt
-- @include fields
--[[
  Ends a job with the result of its attempt: processing → completed | failed.

  Input:
    KEYS[1]  the job's status
    args     id, fencing_token, allowed (states), lifetimes (as Limits.lifetimes); files (JSON object:
             file id -> report), if there are any
    fields   status and what belongs to it
  Output:
    {'FINISHED', snapshot}
    {'LOST'}  the lease is no longer the caller's
  Event:
    version + 1, state log
]]

local job = load_job(args.id)
-- The client library sends a command again when it misses the response: the job has ended already.
if job and job.status == fields.status and job.fence == args.fencing_token then
  return {'FINISHED', cjson.encode(job)}
end
if not job or not contains(args.allowed, job.status) or job.fence ~= args.fencing_token then
  return {'LOST'}
end
if args.files then
  for file_id, report in pairs(cjson.decode(args.files)) do
    redis.call('HSET', key.files(args.id), file_id, report)
  end
end
local snapshot
if fields.status == 'failed' then
  record_attempt(job, fields)
  snapshot = fail(job, fields)
else
  snapshot = enter_terminal_state(job, fields)
end
return {'FINISHED', snapshot}
