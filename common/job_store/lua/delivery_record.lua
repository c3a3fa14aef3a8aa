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
    {'RECORDED', state}
    {'LOST'}  the lease expired and another worker claimed the delivery
  Event:
    state log, so that history learns of every attempt
]]

local function append(list, value, max)
  if redis.call('RPUSH', list, value) > max then redis.call('LTRIM', list, -max, -1) end
end

local kind = args.kind
local name = key.delivery(kind, args.id, args.version)
local attempts = key.delivery_log(kind, args.id, args.version)
local exchanges = key.delivery_exchanges(kind, args.id, args.version)
local stored = redis.call('HMGET', name, 'fence', 'attempts', 'replayed_after', 'job')
if stored[1] ~= args.fencing_token then return {'LOST'} end
local member = args.id .. ':' .. args.version
local state, delay = args.state, tonumber(args.delay)
if (state == 'failed' or state == 'pending') and (stored[3] or '0') ~= args.replayed_after then
  -- A replay was requested during this attempt, which is therefore the first of the replay.
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
-- The client library sends a command again when it misses the response: the repeated call finds
-- another token and changes nothing.
redis.call('HSET', name, 'state', state, 'next_at', next_at, 'attempts', to_text(stored[2] + 1),
  'fence', to_text(stored[1] + 1))
append(attempts, args.entry, tonumber(args.max_attempts))
if args.exchange then append(exchanges, args.exchange, tonumber(args.max_exchanges)) end
-- A receiver's Retry-After may postpone an attempt by days.
local keep = to_text(tonumber(args.keep) + delay)
for _, kept in ipairs({name, key.deliveries(kind, args.id), attempts, exchanges}) do
  redis.call('PEXPIRE', kept, keep)
end
if args.logged then
  redis.call('XADD', key.state_log(), '*', 'job', stored[4],
    'delivery', args.entry, 'state', state)
end
return {'RECORDED', state}
