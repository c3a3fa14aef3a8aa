-- @include args
--[[
  Decides whether a worker may delete an archive's object. Until the worker is done, or `within` has
  passed, no job can hold the archive.

  Input:
    KEYS[1]  the archive's references
    args     unneeded (JSON array: references of jobs that do not need the archive any more), within
             (ms), limit
  Output:
    {'REMOVABLE'}
    {'REMOVING'}  another worker is deleting it
    {'HELD', reference…}  at most limit
  Event:
    none
]]

-- First, so that the script may write although the memory is full, as in full_memory.lua.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_text)
for _, reference in ipairs(cjson.decode(args.unneeded)) do
  redis.call('ZREM', KEYS[1], reference)
end
if redis.call('ZSCORE', KEYS[1], 'removing') then return {'REMOVING'} end
local held = redis.call('ZRANGE', KEYS[1], 0, args.limit - 1)
if #held > 0 then return {'HELD', unpack(held)} end
redis.call('ZADD', KEYS[1], to_text(now + args.within), 'removing')
redis.call('PEXPIRE', KEYS[1], args.within)
return {'REMOVABLE'}
