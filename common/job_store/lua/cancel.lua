-- @include settle
-- @include hint
-- queued | processing → cancelled, at once; a running worker learns of it by its next heartbeat.
-- Input: args.id, allowed, job_ttl (ms)
-- Output: {'CANCELLED', snapshot, hints…} (also when it is cancelled already), {'NOT_FOUND'}, {'CONFLICT'}
-- Event: version + 1, journal.

local job = load(args.id)
if not job then return {'NOT_FOUND'} end
if job.status == 'cancelled' then return {'CANCELLED', cjson.encode(job)} end
if not among(job.status, args.allowed) then return {'CONFLICT'} end
local snapshot = settle(job, {status = 'cancelled'})
step_back(args.id, job.user, job.lane)
return {'CANCELLED', snapshot, unpack(hints)}
