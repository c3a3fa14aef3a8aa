-- @include base
-- One attempt at a delivery has ended.
-- Input: args.id, version, fence, state (pending, delivered, gone or failed), delay (ms, for
--        pending), entry (JSON), keep (ms)
-- Event: an entry in the journal, as every group hears of how it went.
-- Output: {'SETTLED'}, {'LOST'} when the lease lapsed and another took the delivery over

local name = key.delivery(args.id, args.version)
if redis.call('HGET', name, 'fence') ~= args.fencing_token then return {'LOST'} end
local member = args.id .. ':' .. args.version
local at = ''
if args.state == 'pending' then
  at = text(now + tonumber(args.delay))
  redis.call('ZADD', key.webhooks_due(), at, member)
else
  redis.call('ZREM', key.webhooks_due(), member)
end
redis.call('HSET', name, 'state', args.state, 'next_at', at)
redis.call('HINCRBY', name, 'attempts', 1)
-- The client library sends again when an answer is lost: the second time finds another fence.
redis.call('HINCRBY', name, 'fence', 1)
redis.call('RPUSH', key.delivery_log(args.id, args.version), args.entry)
redis.call('PEXPIRE', key.delivery_log(args.id, args.version), args.keep)
redis.call('XADD', key.state_log(), '*', 'job', redis.call('HGET', name, 'job'),
  'delivery', args.entry, 'state', args.state)
return {'SETTLED'}
