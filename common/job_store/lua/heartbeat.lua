-- @include change
-- @include fields
-- Store progress, extend the lease, and learn whether to go on: one round trip.
-- Input: args.id, fence, lease (ms), files (JSON object: file id -> report; where there is any);
--        fields: progress, empty when nothing moved
-- Output: {'CONTINUE'}, {'CANCEL'}, {'GONE'} when another worker holds the job or nobody does
-- Event: version + 1 when fields are given.

local state = redis.call('HMGET', key.status(args.id), 'status', 'fence')
if state[1] == 'cancelled' then return {'CANCEL'} end
if state[1] ~= 'processing' or state[2] ~= args.fencing_token then return {'GONE'} end
redis.call('ZADD', key.leases(), text(now + tonumber(args.lease)), args.id)
if args.files then
  for file_id, report in pairs(cjson.decode(args.files)) do
    redis.call('HSET', key.files(args.id), file_id, report)
  end
end
if next(fields) then change(args.id, fields) end
return {'CONTINUE'}
