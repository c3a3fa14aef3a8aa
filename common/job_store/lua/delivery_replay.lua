-- @include args
-- @include clock
--[[
  Makes deliveries due again, with all their attempts: one, or those of a user since a time.

  Input:
    KEYS[1]  any key of the partition
    args     kind, keep (ms); member ("<job id>:<version>"), or user, since (ms), max (deliveries
             that one call looks at) and state (only those in it), if there is one
  Output:
    {'REPLAYED', number, since (ms)}  `since` is for the next call; empty if nothing is left
  Event:
    none
]]

local kind = args.kind

-- Whether an attempt is in progress. One that waits has the same time in both places.
local function in_progress(member, name)
  local due = redis.call('ZSCORE', key.deliveries_due(kind), member)
  return due and tonumber(due) > now and to_text(tonumber(due)) ~= redis.call('HGET', name, 'next_at')
end

local function replay(member)
  local id, version = string.match(member, '^(.+):(%d+)$')
  local name = key.delivery(kind, id, version)
  local stored = redis.call('HMGET', name, 'attempts', 'state')
  if not stored[1] or (args.state and args.state ~= stored[2]) then return 0 end
  -- An attempt in progress is the first one of the replay.
  if not in_progress(member, name) then
    redis.call('ZADD', key.deliveries_due(kind), now_text, member)
    note_time_if_due()
    redis.call('HSET', name, 'next_at', now_text)
  end
  redis.call('HSET', name, 'state', 'pending', 'replayed_after', stored[1])
  for _, kept in ipairs({
    name, key.deliveries(kind, id), key.delivery_log(kind, id, version),
    key.delivery_exchanges(kind, id, version)}) do
    redis.call('PEXPIRE', kept, args.keep)
  end
  return 1
end

if args.member then return {'REPLAYED', to_text(replay(args.member)), ''} end
local max = tonumber(args.max)
local listed = redis.call('ZRANGE', key.user_deliveries(kind, args.user), args.since, '+inf',
  'BYSCORE', 'LIMIT', 0, max + 1, 'WITHSCORES')
local replayed = 0
for i = 1, math.min(#listed, 2 * max), 2 do replayed = replayed + replay(listed[i]) end
local next_since = listed[2 * max + 2]
return {'REPLAYED', to_text(replayed), next_since and to_text(tonumber(next_since)) or ''}
