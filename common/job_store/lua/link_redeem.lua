-- @include full_memory
-- @include update
--[[
  Counts a download, by a link or by the job's own URL.

  Input:
    KEYS[1]  the job's status
    args     id; of a link: digest, address (of the client, hashed), window (ms); only_check, if the
             download is not counted
  Output:
    {'REDEEMED'}
    {'NOT_FOUND'}  there is no such job, or it has no archive
    {'LINK_GONE'}  the link has expired, was revoked, or was used as often as it may be
  Event:
    version + 1, if it is counted
]]

local job = load_job(args.id)
if not job or job.status ~= 'completed' then return {'NOT_FOUND'} end
if args.digest then
  local name = key.link(args.digest)
  local link = redis.call('HMGET', name, 'expires_at', 'revoked_at', 'uses', 'max_uses',
    'last_address', 'last_used_at')
  if not link[1] or now >= tonumber(link[1]) or link[2] then return {'LINK_GONE'} end
  -- A download manager opens several connections, and continues after an interruption.
  if link[5] == args.address and now - tonumber(link[6]) < tonumber(args.window) then
    return {'REDEEMED'}
  end
  if (link[4] or '') ~= '' and tonumber(link[3]) >= tonumber(link[4]) then return {'LINK_GONE'} end
  if not args.only_check then
    redis.call('HINCRBY', name, 'uses', 1)
    redis.call('HSET', name, 'last_address', args.address, 'last_used_at', now_text)
  end
end
if not args.only_check then
  update_job(args.id, {downloads = to_text((job.downloads or 0) + 1)})
end
return {'REDEEMED'}
