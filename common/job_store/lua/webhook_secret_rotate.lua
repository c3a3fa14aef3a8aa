-- @include args
--[[
  Starts the next generation of a user's webhook secret. Earlier ones sign, too, for a while.

  Input:
    KEYS[1]  the user's webhook_secret
    args     user, rotation (random, so that a repeated call rotates once), overlap (ms for which
             earlier generations remain valid), max (number of earlier ones that do)
  Output:
    {'ROTATED', fields of the secret…}
  Event:
    none
]]

local name = key.webhook_secret(args.user)
if redis.call('HGET', name, 'rotation') ~= args.rotation then
  local until_at = now + tonumber(args.overlap)
  local current = tonumber(redis.call('HGET', name, 'generation') or '1')
  local earlier = redis.call('HGETALL', name)
  redis.call('DEL', name)
  for i = 1, #earlier, 2 do
    local generation = tonumber(string.match(earlier[i], '^until:(%d+)$') or '')
    local ends = generation and math.min(tonumber(earlier[i + 1]), until_at)
    if ends and ends > now and generation > current - tonumber(args.max) then
      redis.call('HSET', name, earlier[i], to_text(ends))
    end
  end
  if until_at > now then
    redis.call('HSET', name, 'until:' .. to_text(current), to_text(until_at))
  end
  redis.call('HSET', name, 'generation', to_text(current + 1), 'rotated_at', now_text,
    'rotation', args.rotation)
end
return {'ROTATED', unpack(redis.call('HGETALL', name))}
