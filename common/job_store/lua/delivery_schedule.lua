-- @include args
-- @include clock
--[[
  Makes a delivery due when its job entered a terminal state. Idempotent by job and version.

  Input:
    KEYS[1]  the job's deliveries
    args     kind, id, version, job (snapshot), keep (ms); user, at (ms) and max, if the user can
             replay it: when the state was entered, and how many of the user's deliveries are listed
  Output:
    {'SCHEDULED'}
    {'DUPLICATE'}  scheduled before
  Event:
    none
]]

local kind = args.kind
local name = key.delivery(kind, args.id, args.version)
local member = args.id .. ':' .. args.version
if redis.call('EXISTS', name) == 1 then return {'DUPLICATE'} end
redis.call('HSET', name, 'state', 'pending', 'attempts', '0', 'fence', '0', 'job', args.job)
redis.call('ZADD', key.deliveries(kind, args.id), args.version, args.version)
redis.call('ZADD', key.deliveries_due(kind), now_text, member)
note_time_if_due()
redis.call('PEXPIRE', name, args.keep)
redis.call('PEXPIRE', key.deliveries(kind, args.id), args.keep)
if args.user then
  local listed = key.user_deliveries(kind, args.user)
  redis.call('ZADD', listed, args.at, member)
  redis.call('ZREMRANGEBYSCORE', listed, '-inf', to_text(now - tonumber(args.keep)))
  redis.call('ZREMRANGEBYRANK', listed, 0, -1 - tonumber(args.max))
  redis.call('PEXPIRE', listed, args.keep)
end
return {'SCHEDULED'}
