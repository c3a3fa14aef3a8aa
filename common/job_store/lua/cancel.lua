-- @include args
-- @include full_memory
-- @include requester
-- @include terminal
-- @include dequeue
--[[
  Cancels a job: queued | processing → cancelled. A running worker learns of it from its next
  heartbeat.

  Input:
    KEYS[1]  the job's status
    args     id, allowed (states), lifetimes (as Limits.lifetimes), and those of requested_by
  Output:
    {'CANCELLED', snapshot, wake-ups…}, also if the job is cancelled already
    {'NOT_FOUND'}
    {'CONFLICT'}  the job has ended otherwise
  Event:
    version + 1, state log; the wake-up of the user's next job
]]

local job = load_job(args.id)
if not job then return {'NOT_FOUND'} end
if job.status == 'cancelled' then return {'CANCELLED', cjson.encode(job)} end
if not contains(args.allowed, job.status) then return {'CONFLICT'} end
local snapshot = enter_terminal_state(job, {status = 'cancelled', reason = requested_by(job)})
dequeue(args.id, line_of(job), job.lane)
return {'CANCELLED', snapshot, unpack(wake_ups)}
