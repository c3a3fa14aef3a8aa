-- @include args
-- @include full_memory
-- @include archive
-- @include requester
-- @include update
--[[
  Deletes the archive of a job before it expires: completed → expired.

  Input:
    KEYS[1]  the job's status
    args     id, allowed (states), and those of requested_by
  Output:
    {'DELETED', snapshot}, also if the archive has expired or was deleted already
    {'NOT_FOUND'}
    {'CONFLICT'}  the job has no archive
  Event:
    version + 1, state log
]]

local job = load_job(args.id)
if not job then return {'NOT_FOUND'} end
local is_completed = contains(args.allowed, job.status)
if not is_completed and job.status ~= 'expired' then return {'CONFLICT'} end
-- The object of an expired job may still exist, until the storage deletes it by its age.
if (job.artifact or '') == '' then return {'DELETED', cjson.encode(job)} end
schedule_removal(job)
redis.call('ZREM', key.expiring(), args.id)
local changes = {artifact = '', expires_at = '', archive_deleted_at = now_text}
if is_completed then changes.status, changes.reason = 'expired', requested_by(job) end
return {'DELETED', update_job(job, changes)}
