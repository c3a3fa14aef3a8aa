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
    {'GONE'}  the lease is no longer the caller's
  Event:
    version + 1 if there are fields
]]

local state = redis.call('HMGET', key.status(args.id), 'status', 'fence', 'progress')
if state[1] == 'cancelled' then return {'CANCEL'} end
if state[1] ~= 'processing' or state[2] ~= args.fencing_token then return {'GONE'} end
redis.call('ZADD', key.leases(), to_text(now + tonumber(args.lease)), args.id)
if args.files then
  for file_id, report in pairs(cjson.decode(args.files)) do
    redis.call('HSET', key.files(args.id), file_id, report)
  end
end
if fields.progress and tonumber(fields.progress) < tonumber(state[3] or '0') then
  fields.progress = state[3]
end
if next(fields) then update_job(args.id, fields) end
return {'CONTINUE'}
