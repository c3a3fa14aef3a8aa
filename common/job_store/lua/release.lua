-- @include attempt
-- @include fields
-- processing → queued: after a retryable failure, or because the worker shuts down.
-- Input: args.id, fence, allowed, delay (ms), counts ('1': the attempt counts, '0': it does not);
--        fields: error, error_code, retryable
-- Output: {'QUEUED', snapshot, hints…}, {'LOST'}
-- Event: version + 1, journal; the wake-up message when there is no delay.

local job = load(args.id)
-- The client library sends again when an answer is lost: the job is back in the queue already.
if job and job.status == 'queued' and job.fence == args.fencing_token then
  return {'QUEUED', cjson.encode(job)}
end
if not job or not among(job.status, args.allowed) or job.fence ~= args.fencing_token then return {'LOST'} end
if args.counts == '1' then
  note_attempt(job, fields)
else
  fields.attempt = text(job.attempt - 1)
end
local snapshot = back_to_queue(job, fields, tonumber(args.delay))
return {'QUEUED', snapshot, unpack(hints)}
