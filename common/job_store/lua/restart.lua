-- @include args
-- @include archive
-- @include bytes
-- @include requester
-- @include update
-- @include wake_up
--[[
  Runs a job again on request: failed → queued, or completed → queued if the archive lacks files. The
  job releases that archive.

  Input:
    KEYS[1]  the job's status
    args     id, allowed (states), max_active; max_bytes, if the user's plan has it; those of
             requested_by
  Output:
    {'RESTARTED', snapshot, wake-ups…}
    {'NOT_FOUND'}
    {'CONFLICT'}  the job's state does not allow it
    {'TOO_MANY_ACTIVE_JOBS'}  the user has max_active unfinished jobs
    {'QUOTA_EXCEEDED'}  the user has max_bytes of archives completed today
  Event:
    version + 1, state log, the wake-up
]]

local id = args.id
local job = load_job(id)
if not job then return {'NOT_FOUND'} end
if not contains(args.allowed, job.status) then return {'CONFLICT'} end
if job.status == 'completed' and cjson.decode(job.artifact).missing_files == 0 then
  return {'CONFLICT'}
end
if redis.call('HLEN', key.user_active(job.user)) >= tonumber(args.max_active) then
  return {'TOO_MANY_ACTIVE_JOBS'}
end
if args.max_bytes and bytes_today(job.user) >= tonumber(args.max_bytes) then
  return {'QUOTA_EXCEEDED'}
end
redis.call('ZREM', key.dead_letters(), id)
redis.call('ZREM', key.expiring(), id)
-- The same request may have created another job since: then this one is stored under its own id.
if redis.call('HSETNX', key.user_active(job.user), job.digest, id) == 0 then
  redis.call('HSET', key.user_active(job.user), id, id)
end
-- The archive that lacks files. It stays while the job may still get the same one again.
schedule_removal(job)
redis.call('DEL', key.files(id))
for _, name in ipairs({key.status(id), key.spec(id), key.attempts(id)}) do
  redis.call('PERSIST', name)
end
redis.call('PERSIST', key.user_jobs(job.user))
local snapshot = update_job(job, {
  status = 'queued', attempt = '0', progress = '0', processed_files = '0', processed_bytes = '0',
  worker = '', started_at = '', restarted_at = now_text, resumes = '', losses = '0', turn = '',
  error = '', error_code = '', retryable = '', completed_at = '', expires_at = '', artifact = '',
  postponed_since = '', reason = requested_by(job),
})
enqueue(id, line_of(job), job.lane)
return {'RESTARTED', snapshot, unpack(wake_ups)}
