-- @include base
-- Lease deliveries that are due: whoever takes one has so long before another may.
-- Input: args.limit, lease (ms)
-- Output: {'TAKEN', snapshot, attempts so far, fence, …}

local answer = {'TAKEN'}
local due = redis.call('ZRANGE', key.webhooks(), '-inf', text(now), 'BYSCORE', 'LIMIT', 0, args.limit)
for _, member in ipairs(due) do
  local id, version = string.match(member, '^(.+):(%d+)$')
  local name = key.delivery(id, version)
  local known = redis.call('HMGET', name, 'job', 'attempts')
  if known[1] then
    redis.call('ZADD', key.webhooks(), text(now + tonumber(args.lease)), member)
    answer[#answer + 1] = known[1]
    answer[#answer + 1] = known[2]
    answer[#answer + 1] = text(redis.call('HINCRBY', name, 'fence', 1))
  else
    redis.call('ZREM', key.webhooks(), member)
  end
end
return answer
