-- @include base
-- A job entered a terminal state: its webhook is due now. Idempotent by job and version.
-- Input: args.id, version, job (snapshot), keep (ms)
-- Output: {'SCHEDULED'}, {'KNOWN'}

local name = key.delivery(args.id, args.version)
if redis.call('EXISTS', name) == 1 then return {'KNOWN'} end
redis.call('HSET', name, 'state', 'pending', 'attempts', '0', 'fence', '0', 'job', args.job)
redis.call('ZADD', key.deliveries(args.id), args.version, args.version)
redis.call('ZADD', key.webhooks_due(), moment, args.id .. ':' .. args.version)
redis.call('PEXPIRE', name, args.keep)
redis.call('PEXPIRE', key.deliveries(args.id), args.keep)
return {'SCHEDULED'}
