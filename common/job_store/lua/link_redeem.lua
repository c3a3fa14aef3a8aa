-- @include args
-- @include full_memory
-- @include update
--[[
  Counts a download, by a link or by the job's own URL.

  Input:
    KEYS[1]  the job's status
    args     id; of a link: digest, address (of the client, hashed), window (ms), max_recent (number
             of addresses); only_check, if the download is not counted; for the history: network (of
             the client), max_logged (number of downloads of a job), log_length
  Output:
    {'REDEEMED'}
    {'NOT_FOUND'}  there is no such job, or it has no archive
    {'LINK_GONE'}  the link has expired, was revoked, or was used max_uses times
  Event:
    version + 1, and an entry for the history, if it is counted
]]

local job = load_job(args.id)
if not job or job.status ~= 'completed' then return {'NOT_FOUND'} end
if args.digest then
  local name = key.link(args.digest)
  local link = redis.call('HMGET', name, 'expires_at', 'revoked_at', 'uses', 'max_uses',
    'recent')
  if not link[1] or now >= tonumber(link[1]) or link[2] then return {'LINK_GONE'} end
  -- A download manager opens several connections, and continues after an interruption.
  local recent = {args.address .. '@' .. now_text}
  for address, at in string.gmatch(link[5] or '', '(%x+)@(%d+)') do
    if address ~= args.address then
      if #recent < tonumber(args.max_recent) then recent[#recent + 1] = address .. '@' .. at end
    elseif now - tonumber(at) < tonumber(args.window) then
      return {'REDEEMED'}
    end
  end
  if (link[4] or '') ~= '' and tonumber(link[3]) >= tonumber(link[4]) then return {'LINK_GONE'} end
  if not args.only_check then
    redis.call('HINCRBY', name, 'uses', 1)
    redis.call('HSET', name, 'recent', table.concat(recent, ' '), 'last_used_at', now_text)
  end
end
if not args.only_check then
  local downloads = (job.downloads or 0) + 1
  update_job(job, {downloads = to_text(downloads)})
  if args.network and downloads <= tonumber(args.max_logged) then
    redis.call('XADD', key.downloads(), 'MAXLEN', '~', args.log_length, '*', 'job', args.id,
      'link', args.digest or '', 'network', args.network)
  end
end
return {'REDEEMED'}
