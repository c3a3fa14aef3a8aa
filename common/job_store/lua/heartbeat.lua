-- @include args
-- @include full_memory
-- @include update
-- @include fields
--[[
  Stores progress, extends the lease and reports whether to go on, in one round trip.

  Input:
    KEYS[1]  the job's status
    args     id, fencing_token, lease (ms); files (JSON object: file id -> report), if there are any
    fields   progress; empty if there is none since the last heartbeat
  Output:
    {'CONTINUE'}
    {'CANCEL'}
    {'LOST'}  the lease is no longer the caller's
  Event:
    version + 1 if there are fields
]]

-- What never goes back: an attempt that continues the work of another one counts from zero.
local COUNTERS = {'progress', 'processed_files', 'processed_bytes'}

local job
if next(fields) then
  job = load_job(args.id) or {}
else
  local stored = redis.call('HMGET', key.status(args.id), 'status', 'fence')
  job = {status = stored[1], fence = stored[2]}
end
if job.status == 'cancelled' then return {'CANCEL'} end
if job.status ~= 'processing' or job.fence ~= args.fencing_token then return {'LOST'} end
redis.call('ZADD', key.leases(), to_text(now + tonumber(args.lease)), args.id)
if args.files then
  for file_id, report in pairs(cjson.decode(args.files)) do
    redis.call('HSET', key.files(args.id), file_id, report)
  end
end
local is_postponed = (job.postponed_since or '') ~= ''
for _, name in ipairs(COUNTERS) do
  local stored = job[name] or '0'
  local gained = fields[name] and tonumber(fields[name]) - tonumber(stored) or 0
  if gained < 0 then fields[name] = stored end
  if gained > 0 and is_postponed then fields.postponed_since = '' end
end
-- It is unknown at the beginning of each attempt.
if fields.total_bytes == '' then fields.total_bytes = nil end
if next(fields) then update_job(job, fields) end
return {'CONTINUE'}
