-- @include args
--[[
  Records that a job needs an archive, before it looks for the archive or builds it.

  Input:
    KEYS[1]  the archive's references
    args     reference (job id and fencing token), keep (ms)
  Output:
    {'HELD'}
    {'REMOVING'}  a worker is deleting the object
  Event:
    none
]]

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_text)
if redis.call('ZSCORE', KEYS[1], 'removing') then return {'REMOVING'} end
redis.call('ZADD', KEYS[1], to_text(now + args.keep), args.reference)
redis.call('PEXPIRE', KEYS[1], args.keep)
return {'HELD'}
