-- @include full_memory
-- @include base
--[[
  Records how an attempt at a delivery went.

  Input:
    KEYS[1]  the job's deliveries
    args     id, version, fencing_token, state (pending, delivered, gone or failed), delay (ms, for
             pending), entry (JSON), keep (ms, counted from the next attempt)
  Output:
    {'RECORDED'}
    {'LOST'}  the lease lapsed and another worker claimed the delivery
  Event:
    state log, so that history learns of every attempt
]]

local name = key.delivery(args.id, args.version)
if redis.call('HGET', name, 'fence') ~= args.fencing_token then return {'LOST'} end
local member = args.id .. ':' .. args.version
local next_at = ''
if args.state == 'pending' then
  next_at = to_text(now + tonumber(args.delay))
  redis.call('ZADD', key.webhooks_due(), next_at, member)
else
  redis.call('ZREM', key.webhooks_due(), member)
end
redis.call('HSET', name, 'state', args.state, 'next_at', next_at)
redis.call('HINCRBY', name, 'attempts', 1)
-- The client library sends a command again when it misses the response: the repeated call finds
-- another token and changes nothing.
redis.call('HINCRBY', name, 'fence', 1)
redis.call('RPUSH', key.delivery_log(args.id, args.version), args.entry)
-- A receiver's Retry-After may postpone an attempt by days.
local keep = to_text(tonumber(args.keep) + tonumber(args.delay))
for _, kept in ipairs({
  name, key.deliveries(args.id), key.delivery_log(args.id, args.version)}) do
  redis.call('PEXPIRE', kept, keep)
end
redis.call('XADD', key.state_log(), '*', 'job', redis.call('HGET', name, 'job'),
  'delivery', args.entry, 'state', args.state)
return {'RECORDED'}
