-- @include args
-- @include full_memory
-- @include clock
--[[
  Leases deliveries that are due in one partition. Those of users who have enough in progress are
  postponed, so that a receiver that hangs delays only its own webhooks.

  Input:
    KEYS[1]  the partition's deliveries_due
    args     kind, limit, lease (ms), busy (JSON array of users), postpone (ms)
  Output:
    {'CLAIMED', (snapshot, attempts so far, those before a replay, fencing token)…}
  Event:
    none
]]

local MAX_SCANNED = 50

local kind = args.kind
local result = {'CLAIMED'}
local claimed = 0
local busy = {}
for _, user in ipairs(cjson.decode(args.busy)) do busy[user] = true end

local function claim(member, name, stored)
  redis.call('ZADD', key.deliveries_due(kind), to_text(now + tonumber(args.lease)), member)
  result[#result + 1] = stored[1]
  result[#result + 1] = stored[2]
  result[#result + 1] = stored[3] or '0'
  result[#result + 1] = to_text(redis.call('HINCRBY', name, 'fence', 1))
  claimed = claimed + 1
end

local due = redis.call(
  'ZRANGE', key.deliveries_due(kind), '-inf', now_text, 'BYSCORE', 'LIMIT', 0, MAX_SCANNED)
if #due > 0 then note_time_if_due() end
for _, member in ipairs(due) do
  if claimed == tonumber(args.limit) then break end
  local id, version = string.match(member, '^(.+):(%d+)$')
  local name = key.delivery(kind, id, version)
  local stored = redis.call('HMGET', name, 'job', 'attempts', 'replayed_after')
  if not stored[1] then
    redis.call('ZREM', key.deliveries_due(kind), member)
  elseif next(busy) and busy[cjson.decode(stored[1]).user] then
    redis.call('ZADD', key.deliveries_due(kind), to_text(now + tonumber(args.postpone)), member)
  else
    claim(member, name, stored)
  end
end
return result
