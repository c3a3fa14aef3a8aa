-- @include change
-- @include hint
-- An explicit retry: a failed job, or a completed one whose archive misses files, starts anew.
-- Input: args.id, allowed, max_active
-- Output: {'RESTARTED', snapshot, hints…}, {'NOT_FOUND'}, {'CONFLICT'}, {'TOO_MANY'}
-- Event: version + 1, journal, the wake-up message.

local id = args.id
local job = load(id)
if not job then return {'NOT_FOUND'} end
if not among(job.status, args.allowed) then return {'CONFLICT'} end
if job.status == 'completed' and cjson.decode(job.artifact).missing_files == 0 then
  return {'CONFLICT'}
end
if redis.call('HLEN', key.user_active(job.user)) >= tonumber(args.max_active) then
  return {'TOO_MANY'}
end
redis.call('ZREM', key.dead_letters(), id)
redis.call('ZREM', key.expiring(), id)
-- The same request may have made another job since: then this one stands under its own id.
if redis.call('HSETNX', key.user_active(job.user), job.digest, id) == 0 then
  redis.call('HSET', key.user_active(job.user), id, id)
end
for _, name in ipairs({key.status(id), key.spec(id), key.files(id), key.attempts(id)}) do
  redis.call('PERSIST', name)
end
local snapshot = change(id, {
  status = 'queued', attempt = '0', progress = '0', processed_files = '0', processed_bytes = '0',
  error = '', error_code = '', retryable = '', completed_at = '', expires_at = '', artifact = '',
})
hint(id, job.user, job.lane)
return {'RESTARTED', snapshot, unpack(hints)}
