-- @include base
-- Lease deliveries that are due: whoever takes one has so long before another may. Those of users
-- who have enough under way are put off a little, so that a receiver that hangs holds up only itself.
-- Input: args.limit, lease (ms), busy (JSON array of users), later (ms)
-- Output: {'TAKEN', snapshot, attempts so far, fence, …}

local LOOKED_AT = 50

local answer = {'TAKEN'}
local taken = 0
local busy = {}
for _, user in ipairs(cjson.decode(args.busy)) do busy[user] = true end

local function take(member, snapshot, name, attempts)
  redis.call('ZADD', key.webhooks_due(), text(now + tonumber(args.lease)), member)
  answer[#answer + 1] = snapshot
  answer[#answer + 1] = attempts
  answer[#answer + 1] = text(redis.call('HINCRBY', name, 'fence', 1))
  taken = taken + 1
end

local due = redis.call('ZRANGE', key.webhooks_due(), '-inf', moment, 'BYSCORE', 'LIMIT', 0, LOOKED_AT)
for _, member in ipairs(due) do
  if taken == tonumber(args.limit) then break end
  local id, version = string.match(member, '^(.+):(%d+)$')
  local name = key.delivery(id, version)
  local known = redis.call('HMGET', name, 'job', 'attempts')
  if not known[1] then
    redis.call('ZREM', key.webhooks_due(), member)
  elseif busy[cjson.decode(known[1]).user] then
    redis.call('ZADD', key.webhooks_due(), text(now + tonumber(args.later)), member)
  else
    take(member, known[1], name, known[2])
  end
end
return answer
