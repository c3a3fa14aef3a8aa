-- @include attempt
-- @include fields
-- The worker's last word on an attempt: completed, or failed for good.
-- Input: args.id, fence, allowed, job_ttl, archive_ttl (ms), files (as for heartbeat);
--        fields: status and what belongs to it
-- Output: {'FINISHED', snapshot}, {'LOST'}
-- Event: version + 1, journal.

local job = load(args.id)
-- The client library sends again when an answer is lost: the word was taken already.
if job and job.status == fields.status and job.fence == args.fencing_token then
  return {'FINISHED', cjson.encode(job)}
end
if not job or not among(job.status, args.allowed) or job.fence ~= args.fencing_token then return {'LOST'} end
if args.files then
  for file_id, report in pairs(cjson.decode(args.files)) do
    redis.call('HSET', key.files(args.id), file_id, report)
  end
end
local snapshot
if fields.status == 'failed' then
  note_attempt(job, fields)
  snapshot = fail_for_good(job, fields)
else
  snapshot = settle(job, fields)
end
return {'FINISHED', snapshot}
