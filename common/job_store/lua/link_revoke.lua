-- @include full_memory
-- @include args
--[[
  Revokes a link. Idempotent.

  Input:
    KEYS[1]  the job's status
    args     digest
  Output:
    {'REVOKED'}
    {'LINK_NOT_FOUND'}
]]

local name = key.link(args.digest)
if redis.call('EXISTS', name) == 0 then return {'LINK_NOT_FOUND'} end
redis.call('HSETNX', name, 'revoked_at', now_text)
return {'REVOKED'}
