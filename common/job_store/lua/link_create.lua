-- @include args
--[[
  Creates a link to the archive of a completed job.

  Input:
    KEYS[1]  the job's status
    args     id, digest (of the token), expires_in (ms, if the link ends before the archive), max
             (number of links per job)
    fields   user, ip, file_name and max_uses of the link
  Output:
    {'CREATED', fields of the link…}
    {'NOT_FOUND'}  there is no such job, or it has no archive
    {'TOO_MANY_LINKS'}
]]

local job = load_job(args.id)
local expires_at = job and job.status == 'completed' and tonumber(job.expires_at)
if not expires_at or expires_at <= now then return {'NOT_FOUND'} end
if redis.call('SCARD', key.links(args.id)) >= tonumber(args.max) then return {'TOO_MANY_LINKS'} end
if args.expires_in then expires_at = math.min(expires_at, now + tonumber(args.expires_in)) end
local name = key.link(args.digest)
redis.call('HSET', name, 'job', args.id, 'created_at', now_text, 'expires_at', to_text(expires_at),
  'uses', '0', unpack(ARGV, first_field))
redis.call('SADD', key.links(args.id), args.digest)
-- As long as the job is kept, so that people learn why a link does not work any more.
local ttl = redis.call('PTTL', key.status(args.id))
for _, kept in ipairs({name, key.links(args.id)}) do redis.call('PEXPIRE', kept, to_text(ttl)) end
return {'CREATED', unpack(redis.call('HGETALL', name))}
