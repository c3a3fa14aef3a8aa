-- @include base
--[[
  Makes a webhook due when its job entered a terminal state. Idempotent by job and version.

  Input:
    KEYS[1]  the job's deliveries
    args     id, version, job (snapshot), keep (ms)
  Output:
    {'SCHEDULED'}
    {'DUPLICATE'}  scheduled before
  Event:
    none
]]

local name = key.delivery(args.id, args.version)
if redis.call('EXISTS', name) == 1 then return {'DUPLICATE'} end
redis.call('HSET', name, 'state', 'pending', 'attempts', '0', 'fence', '0', 'job', args.job)
redis.call('ZADD', key.deliveries(args.id), args.version, args.version)
redis.call('ZADD', key.webhooks_due(), now_text, args.id .. ':' .. args.version)
redis.call('PEXPIRE', name, args.keep)
redis.call('PEXPIRE', key.deliveries(args.id), args.keep)
return {'SCHEDULED'}
