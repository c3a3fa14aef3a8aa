-- @include args
-- @include full_memory
-- @include clock
--[[
  Records how an attempt at a delivery went.

  Input:
    KEYS[1]  the job's deliveries
    args     kind, id, version, fencing_token, state (pending, delivered, gone or failed), delay
             (ms, for pending), replayed_after (as the claim returned it), replay_delay (ms until the
             next attempt if this one failed and was the first of a replay), entry (JSON), exchange
             (JSON), if there is one, keep (ms, counted from the next attempt), max_attempts and
             max_exchanges (that are kept), logged, if history records this kind
  Output:
    {'RECORDED'}
    {'LOST'}  the lease expired and another worker claimed the delivery
  Event:
    state log, so that history learns of every attempt
]]

local kind = args.kind
local name = key.delivery(kind, args.id, args.version)
local attempts = key.delivery_log(kind, args.id, args.version)
local exchanges = key.delivery_exchanges(kind, args.id, args.version)
if redis.call('HGET', name, 'fence') ~= args.fencing_token then return {'LOST'} end
local member = args.id .. ':' .. args.version
local state, delay = args.state, tonumber(args.delay)
local replayed_after = redis.call('HGET', name, 'replayed_after') or '0'
if state == 'failed' and replayed_after ~= args.replayed_after then
  -- A replay was requested during the last attempt, which is therefore the first of the replay.
  state, delay = 'pending', tonumber(args.replay_delay)
end
local next_at = ''
if state == 'pending' then
  next_at = to_text(now + delay)
  redis.call('ZADD', key.deliveries_due(kind), next_at, member)
  note_time_if_due()
else
  redis.call('ZREM', key.deliveries_due(kind), member)
end
redis.call('HSET', name, 'state', state, 'next_at', next_at)
redis.call('HINCRBY', name, 'attempts', 1)
-- The client library sends a command again when it misses the response: the repeated call finds
-- another token and changes nothing.
redis.call('HINCRBY', name, 'fence', 1)
redis.call('RPUSH', attempts, args.entry)
redis.call('LTRIM', attempts, -args.max_attempts, -1)
if args.exchange then
  redis.call('RPUSH', exchanges, args.exchange)
  redis.call('LTRIM', exchanges, -args.max_exchanges, -1)
end
-- A receiver's Retry-After may postpone an attempt by days.
local keep = to_text(tonumber(args.keep) + delay)
for _, kept in ipairs({name, key.deliveries(kind, args.id), attempts, exchanges}) do
  redis.call('PEXPIRE', kept, keep)
end
if args.logged then
  redis.call('XADD', key.state_log(), '*', 'job', redis.call('HGET', name, 'job'),
    'delivery', args.entry, 'state', state)
end
return {'RECORDED'}
